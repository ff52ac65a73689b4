-- Counts one request against a limit: the generic cell rate algorithm. One number is kept: until when the requests so far last
-- when they are spread evenly. It is worth no fsync and no replica: a limit that starts afresh after a crash harms nobody.
redis.set_repl(redis.REPL_NONE)
local key, now, interval = KEYS[1], clock(), a.per_ms / a.requests
local spread = math.max(tonumber(redis.call('GET', key) or 0), now)
local wait = spread + interval - now - a.per_ms
if wait > 0.001 then return {'limited', 0, math.ceil(spread - now), math.ceil(wait)} end
spread = spread + interval
redis.call('SET', key, string.format('%.3f', spread), 'PX', math.ceil(spread - now))
return {'ok', math.floor((a.per_ms - (spread - now)) / interval + 0.001), math.ceil(spread - now), 0}
