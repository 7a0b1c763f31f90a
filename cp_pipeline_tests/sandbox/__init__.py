"""The sandbox, asked over real HTTP; its parts, asked directly where time must be faked."""
