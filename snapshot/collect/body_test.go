package collect

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/slotark/slotark/internal/hint"
)

// testMark is without period, as a random one is.
const testMark = "7d41c9e0b35f82a6f19c04d7e8b2635a91c0fe4a"

// arriving is the connection of a replica to which bytes come as a reader
// gives them; its end is the end of the connection.
func arriving(t *testing.T, from io.Reader) *stream {
	t.Helper()
	conn, other := net.Pipe()
	t.Cleanup(func() { conn.Close(); other.Close() })
	return &stream{conn: conn, reader: bufio.NewReaderSize(from, 16), silence: time.Minute, addr: "10.0.0.1:6379", dropped: -1}
}

// announced is the dump that comes after an announcement.
func announced(t *testing.T, header string, from io.Reader) *Source {
	t.Helper()
	source := new(Source)
	if err := arriving(t, from).body(source, header); err != nil {
		t.Fatal(err)
	}
	return source
}

// readers are the ways in which the same bytes can arrive.
var readers = map[string]func(io.Reader) io.Reader{
	"all at once":        func(r io.Reader) io.Reader { return r },
	"byte by byte":       iotest.OneByteReader,
	"in halves":          iotest.HalfReader,
	"the end with bytes": iotest.DataErrReader,
}

func TestMarkedDump(t *testing.T) {
	cases := map[string]struct{ dump, after string }{
		"a dump":                             {"REDIS0010 and so on", ""},
		"an empty dump":                      {"", ""},
		"an empty dump, bytes after":         {"", "\n"},
		"a newline after (redis#11261)":      {"REDIS0010", "\n"},
		"a stream of commands after":         {"REDIS0010", strings.Repeat("*1\r\n$4\r\nPING\r\n", 50)},
		"the mark again after":               {"REDIS0010", testMark},
		"the mark less its last byte":        {"a" + testMark[:39] + "b", ""},
		"the mark less its first byte":       {"a" + testMark[1:] + "b", "\n"},
		"half a mark before the mark":        {"a" + testMark[:20], ""},
		"almost a mark before the mark":      {"a" + testMark[:39], "x"},
		"the mark's beginning over and over": {strings.Repeat(testMark[:16], 40), "x"},
		"the mark in capitals":               {strings.ToUpper(testMark), ""},
		"shorter than a mark":                {"R", ""},
	}
	for name, c := range cases {
		for way, arrive := range readers {
			t.Run(name+"/"+way, func(t *testing.T) {
				source := announced(t, "$EOF:"+testMark, arrive(strings.NewReader(c.dump+testMark+c.after)))
				checkDump(t, source, c.dump)
				if source.Size != -1 {
					t.Errorf("its size is %d, want -1", source.Size)
				}
			})
		}
	}
}

// checkDump reads a dump to its end, and past it.
func checkDump(t *testing.T, source *Source, want string) {
	t.Helper()
	got, err := io.ReadAll(source)
	if err != nil || string(got) != want {
		t.Fatalf("read %d bytes of %d, %v", len(got), len(want), err)
	}
	if n, err := source.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after its end: %d bytes, %v", n, err)
	}
}

// The mark is found wherever the network parts it, with bytes after it too.
func TestMarkSplitOverReads(t *testing.T) {
	dump, after := "REDIS0010 "+testMark[:39]+" end", "\n+PONG\r\n"
	all := dump + testMark + after
	for cut := range len(all) + 1 {
		source := announced(t, "$EOF:"+testMark, io.MultiReader(strings.NewReader(all[:cut]), strings.NewReader(all[cut:])))
		if got, err := io.ReadAll(source); err != nil || string(got) != dump {
			t.Errorf("parted at byte %d: %q, %v", cut, got, err)
		}
	}
}

// The mark stands across the end of the buffer it is looked for in, at every
// position.
func TestMarkAcrossTheBuffer(t *testing.T) {
	size := cap(newMarked(nil, testMark).buf)
	content := bytes.Repeat([]byte(testMark[:39]+"!"), size/20)
	for length := size - 2*markBytes; length <= size+2*markBytes; length++ {
		all := append(bytes.Clone(content[:length]), testMark+"\n"...)
		got, err := io.ReadAll(announced(t, "$EOF:"+testMark, bytes.NewReader(all)))
		if err != nil || !bytes.Equal(got, content[:length]) {
			t.Fatalf("a dump of %d bytes: read %d, %v", length, len(got), err)
		}
	}
}

// Whoever reads in small pieces gets the same.
func TestMarkedDumpReadByteByByte(t *testing.T) {
	dump := strings.Repeat("REDIS0010 "+testMark[:39], 10)
	source := announced(t, "$EOF:"+testMark, strings.NewReader(dump+testMark+"\n"))
	if got, err := io.ReadAll(iotest.OneByteReader(source)); err != nil || string(got) != dump {
		t.Errorf("read %d bytes of %d, %v", len(got), len(dump), err)
	}
}

// A connection that ends inside the dump is an error at every byte, and never
// an end.
func TestMarkedDumpCut(t *testing.T) {
	dump := "REDIS0010 and so on"
	all := dump + testMark
	for cut := range len(all) {
		for way, arrive := range readers {
			source := announced(t, "$EOF:"+testMark, arrive(strings.NewReader(all[:cut])))
			checkCut(t, source, dump, way, cut)
		}
	}
}

func checkCut(t *testing.T, source *Source, dump, way string, cut int) {
	t.Helper()
	got, err := io.ReadAll(source) // it hides an io.EOF, so a nil is one
	if !errors.Is(err, ErrCut) || errors.Is(err, io.EOF) {
		t.Errorf("cut at byte %d, %s: %v", cut, way, err)
		return
	}
	if !strings.HasPrefix(dump, string(got)) {
		t.Errorf("cut at byte %d, %s: it gave %q", cut, way, got)
	}
	if len(hint.Of(err)) == 0 || !strings.Contains(err.Error(), "sync from 10.0.0.1:6379, after ") {
		t.Errorf("cut at byte %d, %s: %v says not where, or not what to do", cut, way, err)
	}
	if _, again := source.Read(make([]byte, 1)); again == nil || again == io.EOF {
		t.Errorf("cut at byte %d, %s: read on, it says %v", cut, way, again)
	}
}

func TestSizedDump(t *testing.T) {
	dump := "REDIS0010 and so on"
	for way, arrive := range readers {
		for _, after := range []string{"", "\n", "*1\r\n$4\r\nPING\r\n"} {
			t.Run(way+"/"+after, func(t *testing.T) {
				source := announced(t, "$19", arrive(strings.NewReader(dump+after)))
				if source.Size != 19 {
					t.Errorf("its size is %d, want 19", source.Size)
				}
				checkDump(t, source, dump)
			})
		}
		for cut := range len(dump) {
			checkCut(t, announced(t, "$19", arrive(strings.NewReader(dump[:cut]))), dump, way, cut)
		}
	}
	checkDump(t, announced(t, "$0", strings.NewReader("\n")), "")
}

// A close may come together with the last bytes, as TLS reports it: the dump
// is whole all the same, and was thought cut.
func TestSizedDumpWithTheCloseInItsLastRead(t *testing.T) {
	source := announced(t, "$9", iotest.DataErrReader(strings.NewReader("REDIS0010")))
	p := make([]byte, 64)
	if n, err := source.Read(p); n != 9 || err != nil {
		t.Errorf("got %d bytes, %v", n, err)
	}
	if n, err := source.Read(p); n != 0 || err != io.EOF {
		t.Errorf("then %d bytes, %v", n, err)
	}
}

func TestReadErrorsComeThrough(t *testing.T) {
	broken := errors.New("no route to host")
	for _, header := range []string{"$100", "$EOF:" + testMark} {
		source := announced(t, header, io.MultiReader(strings.NewReader("REDIS"), iotest.ErrReader(broken)))
		if _, err := io.ReadAll(source); !errors.Is(err, broken) {
			t.Errorf("%s: %v", header, err)
		}
	}
}

func TestAnnouncementsThatAreNone(t *testing.T) {
	for name, header := range map[string]string{
		"no size":          "$",
		"a size below 0":   "$-1",
		"a size in words":  "$many",
		"a size past 2^63": "$9223372036854775808",
		"no dollar":        "19",
		"an answer":        "+OK",
		"a short mark":     "$EOF:" + testMark[:39],
		"a long mark":      "$EOF:" + testMark + "8",
		"no mark":          "$EOF:",
	} {
		source := new(Source)
		if err := arriving(t, strings.NewReader("")).body(source, header); err == nil || source.ReadCloser != nil {
			t.Errorf("%s: %q is taken for an announcement", name, header)
		}
	}
}

func TestLine(t *testing.T) {
	cases := map[string]struct {
		text, want string
		err        error
	}{
		"a line":                       {"+OK\r\nmore", "+OK", nil},
		"newlines that keep one alive": {"\n\n\n\r\n+OK\r\n", "+OK", nil},
		"a bare newline at its end":    {"$19\nREDIS", "$19", nil},
		"nothing":                      {"", "", ErrCut},
		"newlines, then nothing":       {"\n\n", "", ErrCut},
		"cut":                          {"+FULLRES", "", ErrCut},
	}
	for name, c := range cases {
		if got, err := arriving(t, strings.NewReader(c.text)).line(); got != c.want || !errors.Is(err, c.err) || errors.Is(err, io.EOF) {
			t.Errorf("%s: %q, %v, want %q, %v", name, got, err, c.want, c.err)
		}
	}
	endless := io.MultiReader(strings.NewReader(strings.Repeat("x", maxReplyLine+1)), iotest.ErrReader(errors.New("read on")))
	if _, err := arriving(t, endless).line(); err == nil || !strings.Contains(err.Error(), "a line of over") {
		t.Errorf("a line without end: %v", err)
	}
}

// BenchmarkMarkedDump searches data with as many digits as keys and values have, beside
// what bytes.Index takes.
func BenchmarkMarkedDump(b *testing.B) {
	var dump []byte
	for i := range 1 << 20 {
		dump = fmt.Appendf(dump, "user:%d\x00 name-%x", i, i*i)
	}
	dump = append(dump, testMark...)
	b.Run("marked", func(b *testing.B) {
		b.SetBytes(int64(len(dump)))
		for b.Loop() {
			if n, err := io.Copy(io.Discard, newMarked(bytes.NewReader(dump), testMark)); err != nil || n != int64(len(dump)-markBytes) {
				b.Fatal(n, err)
			}
		}
	})
	b.Run("index", func(b *testing.B) {
		b.SetBytes(int64(len(dump)))
		for b.Loop() {
			if at := bytes.Index(dump, []byte(testMark)); at != len(dump)-markBytes {
				b.Fatal(at)
			}
		}
	})
}
