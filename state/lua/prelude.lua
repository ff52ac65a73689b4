-- Comes before every script. Names for the keys (state/keys.py) and the arguments: ARGV[1] is JSON, the rest is binary.
local sessions, idems, ledger, kept, items, vectors, version, use, expiry = unpack(KEYS, 1, 9)
local session, turns, queue, waiting, idem = unpack(KEYS, 10, 14)
local a = cjson.decode(ARGV[1])

-- Redis's own clock in ms: leases and places in a queue don't depend on the clocks of replicas.
local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- `kept` holds what an erasure had to keep until a block ends; it comes first because it is older.
local function ledger_entries()
  local all = redis.call('LRANGE', kept, 0, -1)
  for _, entry in ipairs(redis.call('LRANGE', ledger, 0, -1)) do all[#all + 1] = entry end
  return all
end

local function ledger_length()
  return redis.call('LLEN', kept) + redis.call('LLEN', ledger)
end
