select id, small, tiny, ok, ratio, weight, price, huge, day, at, seen, name, raw, place, tags, steps, attributes from shipments
