"""The client of the export API, asked to do its work against a strict service over real HTTP."""
