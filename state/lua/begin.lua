-- Takes the session's lease if nobody holds it or waits for it, else a place in the queue, and reads what a turn needs.
-- Asking again with the same token is safe: it keeps the lease or the place.
-- A lease need not outlive Redis: it goes neither to the append-only file nor to replicas, which saves a turn one of its two
-- fsyncs. After a crash or a failover the turn that was running has no holder's mark and is refused like any stale one.
redis.set_repl(redis.REPL_NONE)
local now = clock()

if a.idempotent then
  local known = redis.call('HMGET', idem, 'digest', 'reply', 'token')
  if known[1] then
    if known[1] ~= a.digest then return {'mismatch'} end
    if known[2] then return {'replay', known[2]} end
    if known[3] ~= a.token then return {'running'} end
  end
end

local function mark_running(ms)
  if not a.idempotent then return end
  redis.call('HSET', idem, 'digest', a.digest, 'token', a.token, 'session', a.session_id)
  redis.call('PEXPIRE', idem, ms)
  redis.call('ZREMRANGEBYSCORE', idems, '-inf', now)
  redis.call('ZADD', idems, now + a.idempotency_ms, a.key)
  redis.call('PEXPIRE', idems, a.idempotency_ms)
end

-- An erasure finds a session's keys by this index, those of its queue included.
redis.call('ZADD', sessions, now, a.session_id)
redis.call('EXPIRE', sessions, a.retention_s + 86400)

local lease = redis.call('HMGET', session, 'holder', 'lease_until')
if lease[1] ~= a.token then
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', waiting, '-inf', now)) do
    redis.call('ZREM', queue, gone)
    redis.call('ZREM', waiting, gone)
  end
  local held = lease[1] and tonumber(lease[2]) > now
  local first = redis.call('ZRANGE', queue, 0, 0)[1]
  if held or (first and first ~= a.token) then
    if not redis.call('ZSCORE', queue, a.token) then
      local last = redis.call('ZREVRANGE', queue, 0, 0, 'WITHSCORES')[2] or 0
      redis.call('ZADD', queue, last + 1, a.token)
    end
    redis.call('ZADD', waiting, now + a.waiter_ms, a.token)
    redis.call('PEXPIRE', queue, a.waiter_ms * 2)
    redis.call('PEXPIRE', waiting, a.waiter_ms * 2)
    mark_running(a.waiter_ms)
    return {'wait', redis.call('ZRANK', queue, a.token), ledger_entries()}
  end
  redis.call('ZREM', queue, a.token)
  redis.call('ZREM', waiting, a.token)
end

redis.call('HSET', session, 'holder', a.token, 'lease_until', now + a.lease_ms)
if redis.call('PTTL', session) < 0 then redis.call('EXPIRE', session, 86400) end
mark_running(a.lease_ms)

return {'ok', ledger_entries(), redis.call('HMGET', session, 'summary', 'last_at', 'count'), redis.call('GET', version)}
