// Its own command line listens on all addresses.
const kinesalite = require('kinesalite')({ path: '{{ dir }}/data', createStreamMs: 50, updateStreamMs: 50, deleteStreamMs: 50, shardLimit: 100 });
kinesalite.listen({{ port('api') }}, '127.0.0.1');
