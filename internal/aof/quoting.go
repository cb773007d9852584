package aof

import (
	"fmt"
	"strings"
)

// blanks are what isspace knows.
const blanks = " \t\n\v\f\r"

// SplitArgs parts a line as sdssplitargs does; ok is false where its quotes do not
// fit together. Words are parted by blanks; a
// word may hold parts in double quotes, with escapes, or in single quotes. A
// closing quote ends its word and must be followed by a blank or by nothing.
func SplitArgs(line string) (words []string, ok bool) {
	for {
		line = strings.TrimLeft(line, blanks)
		if line == "" {
			return words, true
		}
		var word string
		if word, line, ok = cutWord(line); !ok {
			return nil, false
		}
		words = append(words, word)
	}
}

func cutWord(line string) (word, rest string, ok bool) {
	var out []byte
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case ' ', '\n', '\r', '\t':
			return string(out), line[i:], true
		case '"', '\'':
			inner, behind, closed := cutQuoted(line[i+1:], c)
			if !closed || behind != "" && !strings.ContainsRune(blanks, rune(behind[0])) {
				return "", "", false
			}
			return string(append(out, inner...)), behind, true
		default:
			out = append(out, c)
		}
	}
	return string(out), "", true
}

// cutQuoted reads up to the closing quote. In single quotes only that quote can
// be escaped.
func cutQuoted(text string, mark byte) (inner []byte, behind string, closed bool) {
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == mark:
			return inner, text[i+1:], true
		case c != '\\' || i+1 == len(text):
			inner = append(inner, c)
		case mark == '\'':
			if text[i+1] == '\'' {
				c = '\''
				i++
			}
			inner = append(inner, c)
		case text[i+1] == 'x' && i+3 < len(text) && hexDigit(text[i+2]) >= 0 && hexDigit(text[i+3]) >= 0:
			inner = append(inner, byte(hexDigit(text[i+2])<<4|hexDigit(text[i+3])))
			i += 3
		default:
			i++
			inner = append(inner, unescape(text[i]))
		}
	}
	return nil, "", false
}

func unescape(c byte) byte {
	if i := strings.IndexByte("nrtba", c); i >= 0 {
		return "\n\r\t\b\a"[i]
	}
	return c
}

func hexDigit(c byte) int {
	if i := strings.IndexByte("0123456789abcdef", c); i >= 0 {
		return i
	}
	return strings.IndexByte("0123456789ABCDEF", c)
}

// AppendText appends the line a server writes for the entry.
func (e Entry) AppendText(dst []byte) ([]byte, error) {
	dst = append(dst, "file "...)
	dst = append(dst, represent(e.Name)...)
	dst = fmt.Appendf(dst, " seq %d type %c", e.Seq, e.Type)
	if e.StartOffset != NoOffset {
		dst = fmt.Appendf(dst, " startoffset %d", e.StartOffset)
		if e.EndOffset != NoOffset {
			dst = fmt.Appendf(dst, " endoffset %d", e.EndOffset)
		}
	}
	return append(dst, '\n'), nil
}

// represent quotes a name as sdscatrepr does where that is needed. Servers do
// not see the need of an empty name, or of a single quote, which they then
// cannot read.
func represent(name string) string {
	plain := name != ""
	for _, c := range []byte(name) {
		plain = plain && c > ' ' && c <= '~' && !strings.ContainsRune(`\"'`, rune(c))
	}
	if plain {
		return name
	}
	var out strings.Builder
	out.WriteByte('"')
	for _, c := range []byte(name) {
		switch {
		case c == '"' || c == '\\':
			out.WriteByte('\\')
			out.WriteByte(c)
		case strings.IndexByte("\n\r\t\b\a", c) >= 0:
			out.WriteByte('\\')
			out.WriteByte("nrtba"[strings.IndexByte("\n\r\t\b\a", c)])
		case c < ' ' || c > '~':
			fmt.Fprintf(&out, `\x%02x`, c)
		default:
			out.WriteByte(c)
		}
	}
	out.WriteByte('"')
	return out.String()
}
