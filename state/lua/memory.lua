-- Writing and dropping memory items. The id follows from what makes two items the same one (ohlora.memories.item_id).
local function drop_item(id)
  redis.call('HDEL', vectors, id)
  redis.call('ZREM', use, id)
  redis.call('ZREM', expiry, id)
  return redis.call('HDEL', items, id)
end

-- Caches of what was loaded (state/cache.py) end with every write of an item or a vector.
local function items_changed()
  redis.call('SET', version, a.version)
end

-- m: id, key, value, told_at, told (epoch), date and day (ordinal) or neither, today (ordinal),
-- max_items, max_history. An item without history has no such field: cjson can't tell an empty list from an object.
local function write_item(m, blob)
  local id = m.id
  local item = redis.call('HGET', items, id)
  if item then
    item = cjson.decode(item)
    if item.value ~= m.value then
      local history = item.history or {}
      history[#history + 1] = {value = item.value, told_at = item.told_at}
      while #history > m.max_history do table.remove(history, 1) end
      item.history = history
    end
  else
    item = {}
  end
  item.id, item.key, item.value, item.told_at, item.date = id, m.key, m.value, m.told_at, m.date
  local text = cjson.encode(item)
  redis.call('HSET', items, id, text)
  redis.call('HSET', vectors, id, blob)
  redis.call('ZADD', use, 'GT', m.told, id)
  if m.day then redis.call('ZADD', expiry, m.day, id) end

  -- A day of grace before a past day's items go for good: the user's next request may come from farther west.
  for _, past in ipairs(redis.call('ZRANGEBYSCORE', expiry, '-inf', '(' .. (m.today - 1))) do drop_item(past) end
  local excess = redis.call('HLEN', items) - m.max_items
  if excess > 0 then
    for _, past in ipairs(redis.call('ZRANGEBYSCORE', expiry, '-inf', '(' .. m.today, 'LIMIT', 0, excess)) do
      excess = excess - drop_item(past)
    end
  end
  if excess > 0 then
    for _, unused in ipairs(redis.call('ZRANGE', use, 0, excess)) do
      if excess > 0 and unused ~= id then excess = excess - drop_item(unused) end
    end
  end
  return text
end
