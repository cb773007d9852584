package aof

import (
	"strconv"
	"strings"
)

// positions say which arguments of a command are keys: from first to last in
// steps, counted from the name as 0, a negative last from the end. Where
// numkeys is set, the argument there says how many more follow it, in steps.
type positions struct{ first, last, step, numkeys int }

// command is what is known of a command.
type command struct {
	name string // in capitals
	id   int    // the place in the counts of an inspection
	keys positions
	act  act
}

// act is what a command means to a reader.
type act uint8

const (
	actNone act = iota
	actSelect
	actMulti
	actExec
)

// commandNames are the commands that change data or that a server writes for
// another reason, by the positions of their keys as COMMAND gives them for
// Redis 7.0, and those that came later. Of commands that name a further key by
// a word (SORT … STORE) only the first counts: in a cluster both have one slot.
var commandNames = map[positions]string{
	{}: "SELECT MULTI EXEC DISCARD PING FLUSHALL FLUSHDB SWAPDB PUBLISH SPUBLISH FUNCTION SCRIPT " +
		"REPLCONF DEBUG CONFIG TRIMSLOTS CLUSTER",

	{1, 1, 1, 0}: "SET SETEX PSETEX SETNX GETSET GETDEL GETEX APPEND SETRANGE SETBIT BITFIELD INCR DECR INCRBY DECRBY " +
		"INCRBYFLOAT PFADD GET DELIFEQ DELEX DIGEST INCREX " +
		"EXPIRE PEXPIRE EXPIREAT PEXPIREAT PERSIST RESTORE RESTORE-ASKING MOVE SORT " +
		"LPUSH RPUSH LPUSHX RPUSHX LPOP RPOP LINSERT LSET LREM LTRIM " +
		"SADD SREM SPOP " +
		"ZADD ZREM ZINCRBY ZPOPMIN ZPOPMAX ZREMRANGEBYSCORE ZREMRANGEBYRANK ZREMRANGEBYLEX " +
		"HSET HSETNX HMSET HDEL HINCRBY HINCRBYFLOAT HEXPIRE HPEXPIRE HEXPIREAT HPEXPIREAT HPERSIST HGETDEL HGETEX HSETEX " +
		"XADD XTRIM XDEL XDELEX XACK XACKDEL XNACK XCLAIM XAUTOCLAIM XSETID XCFGSET XIDMPRECORD " +
		"GEOADD GEORADIUS GEORADIUSBYMEMBER " +
		"VADD VREM VSETATTR ARSET ARMSET ARDEL ARDELRANGE ARINSERT ARRING ARSEEK " +
		"JSON.SET JSON.DEL JSON.FORGET JSON.MERGE JSON.TOGGLE JSON.CLEAR JSON.NUMINCRBY JSON.NUMMULTBY JSON.STRAPPEND " +
		"JSON.ARRAPPEND JSON.ARRINSERT JSON.ARRPOP JSON.ARRTRIM BF.ADD BF.MADD BF.INSERT BF.RESERVE BF.LOADCHUNK " +
		"CF.ADD CF.ADDNX CF.INSERT CF.INSERTNX CF.DEL CF.RESERVE CF.LOADCHUNK CMS.INITBYDIM CMS.INITBYPROB CMS.INCRBY " +
		"TOPK.ADD TOPK.INCRBY TOPK.RESERVE TDIGEST.CREATE TDIGEST.ADD TDIGEST.RESET " +
		"TS.CREATE TS.ADD TS.ALTER TS.DEL TS.INCRBY TS.DECRBY",

	{1, -1, 1, 0}: "DEL UNLINK PFMERGE PFCOUNT TOUCH SDIFFSTORE SINTERSTORE SUNIONSTORE",
	{1, -1, 2, 0}: "MSET MSETNX",
	{1, -1, 3, 0}: "JSON.MSET TS.MADD",
	{1, -2, 1, 0}: "BLPOP BRPOP BZPOPMIN BZPOPMAX",
	{1, 2, 1, 0}:  "RENAME RENAMENX COPY RPOPLPUSH BRPOPLPUSH LMOVE BLMOVE SMOVE GEOSEARCHSTORE ZRANGESTORE TS.CREATERULE TS.DELETERULE",
	{2, 2, 1, 0}:  "XGROUP PFDEBUG",
	{2, -1, 1, 0}: "BITOP",
	{3, 3, 1, 0}:  "MIGRATE",

	{1, 1, 1, 2}: "ZUNIONSTORE ZINTERSTORE ZDIFFSTORE CMS.MERGE TDIGEST.MERGE",
	{0, 0, 1, 1}: "LMPOP ZMPOP",
	{0, 0, 2, 1}: "MSETEX",
	{0, 0, 1, 2}: "BLMPOP BZMPOP EVAL EVALSHA FCALL",
}

// maxNameLen is of commands, in bytes.
const maxNameLen = 32

var (
	commands = buildCommands()
	unknown  = &command{} // any other; what its name is says the record
)

func buildCommands() map[string]*command {
	acts := map[string]act{"SELECT": actSelect, "MULTI": actMulti, "EXEC": actExec}
	table := map[string]*command{}
	for keys, names := range commandNames {
		for _, name := range strings.Fields(names) {
			// 0 is left to unknown.
			table[name] = &command{name: name, id: len(table) + 1, keys: keys, act: acts[name]}
		}
	}
	return table
}

// commandOf looks a name up, in whatever case it is written.
func commandOf(name []byte) *command {
	var upper [maxNameLen]byte
	if len(name) > maxNameLen {
		return unknown
	}
	for i, c := range name {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		upper[i] = c
	}
	if c, ok := commands[string(upper[:len(name)])]; ok {
		return c
	}
	return unknown
}

// nameCache remembers names as they are written: files use few of them, over
// and over.
type nameCache [64]cachedName

type cachedName struct {
	command *command
	length  int // of name; one more than a command's stands for all longer ones
	name    [maxNameLen + 1]byte
}

// find looks a name up, or the beginning of one too long. The result is valid
// until the next call.
func (c *nameCache) find(name []byte) *cachedName {
	place := len(name)
	if place > 0 {
		place += int(name[0])*5 + int(name[len(name)-1])*3 + int(name[len(name)/2])
	}
	seen := &c[place%len(c)]
	if seen.command == nil || string(seen.name[:seen.length]) != string(name) {
		seen.command, seen.length = commandOf(name), copy(seen.name[:], name)
	}
	return seen
}

// keyCursor finds the keys among the arguments as they pass.
type keyCursor struct {
	next, last, step int64 // of the keys at hand; next 0: none
	numkeys          int64 // where the number of further keys stands; 0: nowhere
	numStep          int64
}

func (p positions) cursor(argc int64) keyCursor {
	k := keyCursor{next: int64(p.first), last: int64(p.last), step: int64(p.step)}
	if k.last < 0 {
		k.last += argc
	}
	if p.numkeys > 0 {
		k.numkeys, k.numStep = int64(p.numkeys), k.step
	}
	if k.next > k.last {
		k.next = 0
	}
	return k
}

// advance leaves the key at hand behind.
func (k *keyCursor) advance() {
	if k.next += k.step; k.next > k.last {
		k.next = 0
	}
}

// count takes the number of further keys, which begin behind argument i.
func (k *keyCursor) count(i int64, text []byte, argc int64) bool {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || n < 0 || n > (argc-i)/k.numStep {
		return false
	}
	if n > 0 {
		k.next, k.last, k.step = i+1, i+1+(n-1)*k.numStep, k.numStep
	}
	return true
}
