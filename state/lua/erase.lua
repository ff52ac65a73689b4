-- Removes everything of a user but the entries of a block in force, which go by themselves when it ends. The keys after
-- the user's own were found by `sessions` and `idems`: if those or the ledger changed, the caller must look again.
if table.concat(redis.call('ZRANGE', sessions, 0, -1), ' ') ~= a.sessions
  or table.concat(redis.call('ZRANGE', idems, 0, -1), ' ') ~= a.idems
  or ledger_length() ~= a.ledger_length then
  return {'changed'}
end
local counts = {redis.call('HLEN', items), 0, 0, a.ledger_length - #a.keep, 0}
for i = 10, #KEYS do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if kind == 'list' then
    counts[2] = counts[2] + 1
    counts[3] = counts[3] + redis.call('LLEN', KEYS[i])
  elseif kind == 'hash' and redis.call('HEXISTS', KEYS[i], 'reply') == 1 then
    counts[5] = counts[5] + 1
  end
end
for i = 1, #KEYS do redis.call('DEL', KEYS[i]) end
if #a.keep > 0 then
  for _, entry in ipairs(a.keep) do redis.call('RPUSH', kept, entry) end
  redis.call('PEXPIREAT', kept, a.keep_until_ms)
end
return {'ok', counts}
