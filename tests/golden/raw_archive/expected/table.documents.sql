select day, name, kind, encode(content, 'hex') as hex from documents
