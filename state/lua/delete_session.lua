-- Removes a session with its replies. The keys after the session's own are the markers of its Idempotency-Keys, which
-- the caller found by `idems`: if that changed meanwhile it must look again. A turn still running loses its lease.
if table.concat(redis.call('ZRANGE', idems, 0, -1), ' ') ~= a.idems then return {'changed'} end
local existed = redis.call('HEXISTS', session, 'count')
for i = 10, #KEYS do redis.call('DEL', KEYS[i]) end
for _, key in ipairs(a.forgotten) do redis.call('ZREM', idems, key) end
redis.call('ZREM', sessions, a.session_id)
return {existed == 1 and 'ok' or 'missing'}
