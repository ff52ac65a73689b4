return {'ok', ledger_entries()}
