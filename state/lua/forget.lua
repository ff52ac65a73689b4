-- Drops one item, its history and its vectors.
if drop_item(a.id) == 0 then return {'missing'} end
items_changed()
return {'ok'}
