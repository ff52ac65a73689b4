-- Takes a user out of an administrator's list, with `score` only if nothing was added since it was read.
if not a.score or tonumber(redis.call('ZSCORE', KEYS[1], a.user_id) or 0) == a.score then
  redis.call('ZREM', KEYS[1], a.user_id)
end
return {'ok'}
