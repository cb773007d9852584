package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

const fileLimit = 64 << 20 // bytes of memory, whatever the file

// TestVerifyFileMemory verifies dumps that are hard to keep in bounds.
func TestVerifyFileMemory(t *testing.T) {
	cases := []struct {
		name  string
		write func(*dumpFile)
	}{
		{"a string of 600 MB", func(d *dumpFile) {
			d.key(0, "string").length(600 << 20)
			d.hole(600 << 20)
		}},
		{"a hash of 3 million fields", func(d *dumpFile) { d.hash("hash", 3_000_000) }},
		{"3 million keys in no order", func(d *dumpFile) { d.strings(3_000_000) }},
		// Nearly the most names, and the most members for each worker.
		{"many keys and many large hashes", func(d *dumpFile) {
			d.Write([]byte{251})
			d.length(1_800_000).length(0)
			d.strings(1_800_000)
			for i := range 6 {
				d.hash(fmt.Sprintf("hash:%d", i), 200_000)
			}
		}},
	}
	t.Setenv("GOMAXPROCS", "2") // each worker has memory of its own
	for _, c := range cases {
		path := writeDump(t, c.write)
		for _, level := range []string{"parse", "deep"} {
			_, peak := measured(t, "verify", path, "--level", level)
			t.Logf("%s, level %s: peak %d MiB", c.name, level, peak>>20)
			if peak == 0 || peak > fileLimit {
				t.Errorf("%s, level %s: peak %d MiB, want at most %d MiB", c.name, level, peak>>20, fileLimit>>20)
			}
		}
	}
}

// dumpFile is a dump being written.
type dumpFile struct {
	*bufio.Writer
	file *os.File
}

// writeDump writes a dump of version 11 without a checksum and returns its path.
func writeDump(t *testing.T, write func(*dumpFile)) string {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "dump.rdb"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	d := &dumpFile{bufio.NewWriter(file), file}
	d.WriteString("REDIS0011\xfe\x00")
	write(d)
	d.Write([]byte{255, 0, 0, 0, 0, 0, 0, 0, 0})
	if err := d.Flush(); err != nil { // or what kept an earlier write from being done
		t.Fatal(err)
	}
	return file.Name()
}

// length writes one in four bytes.
func (d *dumpFile) length(n int) *dumpFile {
	d.Write(binary.BigEndian.AppendUint32([]byte{0x80}, uint32(n)))
	return d
}

func (d *dumpFile) text(s string) *dumpFile {
	d.length(len(s)).WriteString(s)
	return d
}

// key begins a key; its value follows.
func (d *dumpFile) key(typ byte, name string) *dumpFile {
	d.WriteByte(typ)
	return d.text(name)
}

// hole is so many zero bytes, which take no room on the disk.
func (d *dumpFile) hole(n int64) {
	d.Flush()
	if _, err := d.file.Seek(n, io.SeekCurrent); err != nil {
		panic(err) // impossible: the file is open and the offset positive
	}
}

func (d *dumpFile) strings(n int) {
	for i := range n {
		d.key(0, fmt.Sprintf("key:%d", i)).text("v")
	}
}

func (d *dumpFile) hash(name string, fields int) {
	d.key(4, name).length(fields)
	for i := range fields {
		d.text(fmt.Sprintf("field:%d", i)).text("v")
	}
}
