-- Extends a lease. One that ran out without anybody taking over is taken again.
redis.set_repl(redis.REPL_NONE) -- as in begin.lua
if redis.call('HGET', session, 'holder') ~= a.token then return {'lost'} end
if a.idempotent then
  local owner = redis.call('HGET', idem, 'token')
  if owner and owner ~= a.token then return {'lost'} end
  redis.call('HSET', idem, 'digest', a.digest, 'token', a.token, 'session', a.session_id)
  redis.call('PEXPIRE', idem, a.lease_ms)
end
redis.call('HSET', session, 'lease_until', clock() + a.lease_ms)
return {'ok'}
