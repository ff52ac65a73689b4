"""State in Redis: sessions and their turns, memories, the ledger, idempotent replies. Imports only ``ohlora``."""
