-- Keeps one turn, all of it or nothing: everything that can refuse comes before the first write.
local known = redis.call('HMGET', session, 'holder', 'done', 'first_at')
local done = known[2] or ' '
if string.find(done, ' ' .. a.turn_id .. ' ', 1, true) then
  -- Kept before; a new lease under the same turn id must not hold the session up.
  if known[1] == a.token then redis.call('HDEL', session, 'holder', 'lease_until') end
  return {'ok'}
end
if known[1] ~= a.token then return {'lost'} end
if a.idempotent then
  local owner = redis.call('HMGET', idem, 'token', 'reply')
  if owner[2] or (owner[1] and owner[1] ~= a.token) then return {'lost'} end
end
if #a.offences > 0 and ledger_length() ~= a.ledger_length then return {'ledger', ledger_entries()} end

local now = clock()
for _, entry in ipairs(a.offences) do redis.call('RPUSH', ledger, entry) end

if a.turn then
  redis.call('HINCRBY', session, 'count', 1)
  redis.call('HSET', session, 'last_at', a.at)
  if not known[3] then redis.call('HSET', session, 'first_at', a.at) end
  if a.summary then
    redis.call('HSET', session, 'summary', a.summary)
  else
    redis.call('HDEL', session, 'summary')
  end
  -- The time comes before the JSON so that turns past their retention are found without parsing them.
  redis.call('RPUSH', turns, string.format('%.3f|', a.at) .. a.turn)
  for _ = 1, 100 do
    local oldest = redis.call('LINDEX', turns, 0)
    if tonumber(string.match(oldest, '^[^|]+')) >= a.at - a.retention_s then break end
    redis.call('LPOP', turns)
  end
  redis.call('EXPIRE', turns, a.retention_s)

  if a.used then
    local item = redis.call('HGET', items, a.used)
    if item then
      item = cjson.decode(item)
      item.used_at = a.used_at
      redis.call('HSET', items, a.used, cjson.encode(item))
      redis.call('ZADD', use, 'GT', a.at, a.used)
    end
  end
  for i, fresh in ipairs(a.refreshed) do
    local item = redis.call('HGET', items, fresh.id)
    -- A value that another session wrote meanwhile has its own vectors.
    if item and cjson.decode(item).value == fresh.value then
      redis.call('HSET', vectors, fresh.id, ARGV[2 + i])
      items_changed()
    end
  end
  if a.memory then
    write_item(a.memory, ARGV[2])
    items_changed()
  end
end

-- The last turn ids, so that a commit sent again after a lost connection is known.
done = done .. a.turn_id .. ' '
while #done > a.done_bytes do done = string.match(done, '^ %S+( .*)$') end
redis.call('HSET', session, 'done', done)
redis.call('HDEL', session, 'holder', 'lease_until')
redis.call('EXPIRE', session, a.retention_s)
redis.call('ZADD', sessions, now, a.session_id)
-- A day later than the sessions themselves, so that no session is left that this index doesn't name.
redis.call('EXPIRE', sessions, a.retention_s + 86400)
redis.call('ZREMRANGEBYSCORE', sessions, '-inf', now - (a.retention_s + 86400) * 1000)
if a.idempotent then
  redis.call('HSET', idem, 'digest', a.digest, 'reply', a.reply, 'session', a.session_id)
  redis.call('HDEL', idem, 'token')
  redis.call('PEXPIRE', idem, a.idempotency_ms)
  redis.call('ZADD', idems, now + a.idempotency_ms, a.key)
  redis.call('PEXPIRE', idems, a.idempotency_ms)
end
return {'ok'}
