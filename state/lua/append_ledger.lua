-- Adds one entry if the ledger is still the one that the caller read.
if ledger_length() ~= a.ledger_length then return {'changed'} end
redis.call('RPUSH', ledger, a.entry)
return {'ok'}
