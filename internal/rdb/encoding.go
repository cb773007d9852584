package rdb

import "strconv"

// encodings are the names of the value types, as OBJECT ENCODING has them, after the
// family. Types that say the same in another way have the same name.
var encodings = map[byte]string{
	typeString: "string", typeList: "list linkedlist", typeSet: "set hashtable", typeZset: "zset skiplist", typeZset2: "zset skiplist", typeHash: "hash hashtable",
	typeModuleRC: "module", typeModule2: "module", typeHashZipmap: "hash zipmap", typeListZiplist: "list ziplist", typeSetIntset: "set intset",
	typeZsetZiplist: "zset ziplist", typeHashZiplist: "hash ziplist", typeListQuicklist: "list quicklist of ziplists", typeListQuicklist2: "list quicklist of listpacks",
	typeHashListpack: "hash listpack", typeZsetListpack: "zset listpack", typeSetListpack: "set listpack",
	typeStream1: "stream of version 1", typeStream2: "stream of version 2", typeStream3: "stream of version 3", typeStream4: "stream of version 4", typeStream5: "stream of version 5",
	typeHashMetaRC: "hash hashtable, fields expiring", typeHashMeta: "hash hashtable, fields expiring", typeHashListpackEx: "hash listpack, fields expiring",
	typeArray: "array", typeTemplateLPRef: "hash listpack, template", typeTemplateArrayRef: "hash array, template",
}

// Encodings counts keys by how their values stand in dumps.
type Encodings [256]uint64

// Count adds a key.
func (e *Encodings) Count(r *Record) { e[r.Type]++ }

// Add adds other dumps.
func (e *Encodings) Add(other *Encodings) {
	for i, n := range other {
		e[i] += n
	}
}

// ByName are the counts by what a person calls the encoding: "hash listpack".
func (e *Encodings) ByName() map[string]uint64 {
	named := map[string]uint64{}
	for i, n := range e {
		if n == 0 {
			continue
		}
		name, known := encodings[byte(i)]
		if !known {
			name = "type " + strconv.Itoa(i)
		}
		named[name] += n
	}
	return named
}
