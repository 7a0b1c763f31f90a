"""The client of the export API, tested against a strict service over real HTTP."""
