package cluster

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Limits of a reply: proto-max-bulk-len's default, and a depth and a number of
// elements no command used here comes near. They keep a peer that is not a
// Redis from making us allocate without end.
const (
	maxBulkBytes   = 512 << 20
	maxArrayLength = 1 << 20
	maxReplyDepth  = 8
	maxLineBytes   = 64 << 10
)

// ServerError is an error reply: "ERR unknown command", "MOVED 3999 …".
type ServerError string

func (e ServerError) Error() string { return string(e) }

// Code is the reply's first word: "ERR", "LOADING", "NOPERM".
func (e ServerError) Code() string {
	code, _, _ := strings.Cut(string(e), " ")
	return code
}

// IsUnknownCommand tells a server that is too old for a command or subcommand
// from one that rejects its arguments.
func (e ServerError) IsUnknownCommand() bool {
	text := strings.ToLower(string(e))
	return strings.HasPrefix(text, "err unknown command") || strings.HasPrefix(text, "err unknown subcommand")
}

// AppendCommand appends a command in RESP, as a server reads it. Arguments
// are strings, byte slices, integers; anything else is written as by %v.
func AppendCommand(dst []byte, args ...any) []byte {
	dst = append(dst, '*')
	dst = strconv.AppendInt(dst, int64(len(args)), 10)
	dst = append(dst, '\r', '\n')
	var scratch [20]byte
	for _, arg := range args {
		switch v := arg.(type) {
		case string:
			dst = appendBulk(dst, v)
		case []byte:
			dst = appendBulk(dst, v)
		case int:
			dst = appendBulk(dst, strconv.AppendInt(scratch[:0], int64(v), 10))
		case int64:
			dst = appendBulk(dst, strconv.AppendInt(scratch[:0], v, 10))
		default:
			dst = appendBulk(dst, fmt.Sprint(v))
		}
	}
	return dst
}

func appendBulk[T string | []byte](dst []byte, v T) []byte {
	dst = append(dst, '$')
	dst = strconv.AppendInt(dst, int64(len(v)), 10)
	dst = append(dst, '\r', '\n')
	dst = append(dst, v...)
	return append(dst, '\r', '\n')
}

// ReadReply reads one RESP2 reply: string, int64, []any or nil. An error reply
// is returned as the error, a [ServerError]; inside an array it is an element.
// Any other error means the connection is of no further use.
func ReadReply(r *bufio.Reader) (any, error) {
	reply, err := readReply(r, 0)
	if err != nil {
		return nil, err
	}
	if refused, ok := reply.(ServerError); ok {
		return nil, refused
	}
	return reply, nil
}

func readReply(r *bufio.Reader, depth int) (any, error) {
	if depth > maxReplyDepth {
		return nil, fmt.Errorf("read reply: nested deeper than %d", maxReplyDepth)
	}
	line, err := readLine(r)
	if err != nil {
		return nil, err
	}
	if len(line) == 0 {
		return nil, fmt.Errorf("read reply: an empty line")
	}
	rest := line[1:]
	switch line[0] {
	case '+':
		return rest, nil
	case '-':
		return ServerError(rest), nil
	case ':':
		n, err := strconv.ParseInt(rest, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read reply: %q is no integer", rest)
		}
		return n, nil
	case '$':
		return readBulk(r, rest)
	case '*':
		return readArray(r, rest, depth)
	}
	return nil, fmt.Errorf("read reply: %q does not begin a RESP reply", line)
}

func readBulk(r *bufio.Reader, length string) (any, error) {
	n, err := strconv.Atoi(length)
	if err != nil || n < -1 || n > maxBulkBytes {
		return nil, fmt.Errorf("read reply: %q is no length of a string", length)
	}
	if n == -1 {
		return nil, nil
	}
	// Growing with what arrives: the length is only the peer's claim.
	var body bytes.Buffer
	if _, err := io.CopyN(&body, r, int64(n)+2); err != nil {
		return nil, fmt.Errorf("read reply: %w", noEOF(err))
	}
	return string(body.Bytes()[:n]), nil
}

func readArray(r *bufio.Reader, length string, depth int) (any, error) {
	n, err := strconv.Atoi(length)
	if err != nil || n < -1 || n > maxArrayLength {
		return nil, fmt.Errorf("read reply: %q is no length of an array", length)
	}
	if n == -1 {
		return nil, nil
	}
	var items []any
	for range n {
		item, err := readReply(r, depth+1)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

// readLine reads up to CRLF, which it cuts off. Without a limit a peer that
// sends no line end would be buffered for ever.
func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			return strings.TrimRight(string(line), "\r\n"), nil
		}
		if err != bufio.ErrBufferFull {
			if len(line) > 0 {
				err = noEOF(err)
			}
			return "", fmt.Errorf("read reply: %w", err)
		}
		if len(line) > maxLineBytes {
			return "", fmt.Errorf("read reply: a line of more than %d bytes", maxLineBytes)
		}
	}
}

// noEOF makes the end of the stream inside a reply an error of its own.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
