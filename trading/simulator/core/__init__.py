"""The neutral core: clock, market, matching, accounts, journal and faults. It knows no broker's wire format."""
