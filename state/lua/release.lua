-- Gives up a lease or a place in the queue, and the mark of a running Idempotency-Key; what isn't ours stays.
if redis.call('HGET', session, 'holder') == a.token then
  redis.call('HDEL', session, 'holder', 'lease_until')
  if redis.call('HEXISTS', session, 'count') == 0 and redis.call('HEXISTS', session, 'done') == 0 then
    redis.call('DEL', session)
    redis.call('ZREM', sessions, a.session_id)
  end
end
redis.call('ZREM', queue, a.token)
redis.call('ZREM', waiting, a.token)
if a.idempotent and redis.call('HGET', idem, 'token') == a.token and not redis.call('HGET', idem, 'reply') then
  redis.call('DEL', idem)
  redis.call('ZREM', idems, a.key)
end
return {'ok'}
