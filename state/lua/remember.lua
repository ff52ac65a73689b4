-- Writes one item outside a turn; with must_exist only over one that is still there.
if a.must_exist and redis.call('HEXISTS', items, a.memory.id) == 0 then return {'missing'} end
local text = write_item(a.memory, ARGV[2])
items_changed()
return {'ok', text}
