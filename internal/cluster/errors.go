package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/hint"
)

var (
	// ErrAuth is returned when a node refuses the user, the password, or the
	// command to this user.
	ErrAuth = errors.New("access refused")
	// ErrUnreachable is returned when a node cannot be connected to, or stops
	// answering.
	ErrUnreachable = errors.New("node unreachable")
	// ErrNotCluster is returned by a server that does not run in cluster mode.
	ErrNotCluster = errors.New("not a cluster")
)

const (
	hintPassword  = "Check the user name and the password. They are read from the environment or a file at each run."
	hintNoAuth    = "This node wants a password. Pass it through the environment or a file, never as an argument."
	hintACL       = "Give the user the rights that docs/access.md lists for what it does (ACL SETUSER)."
	hintReach     = "Check that the node runs and that this machine may connect to it. If the cluster announces addresses that do not lead to it from here, map them."
	hintPlain     = "If this port speaks TLS, turn TLS on."
	hintTLS       = "If this port does not speak TLS, turn TLS off or give the TLS port."
	hintCA        = "Give the CA that signed the nodes' certificates, and the server name they carry if it is not the address."
	hintMaybeCert = "It may want a client certificate, and none was given: give one and its key, or see in its log why it hung up."
	hintCert      = "This node wants a client certificate: give a certificate and its key."
	hintCluster   = "Slotark works on clusters: the node must run with cluster-enabled yes."
)

// nodeError is one clear line about one node. What happened underneath is in
// its tree for errors.Is and errors.As, not in its text.
type nodeError struct {
	text  string
	kind  error // a sentinel, or nil
	cause error
}

func (e *nodeError) Error() string { return e.text }

func (e *nodeError) Unwrap() []error {
	if e.kind == nil {
		return []error{e.cause}
	}
	return []error{e.kind, e.cause}
}

// handshakeError marks a failure of TLS, which has hints of its own.
type handshakeError struct{ error }

func (e *handshakeError) Unwrap() error { return e.error }

// dialFailure carries connect's error through go-redis, opaque to it: what it
// recognises as a failed dial it tries again, whatever it was told.
type dialFailure struct{ err error }

func (e *dialFailure) Error() string { return e.err.Error() }

// IsCode tells whether err holds an error reply with this code, as "LOADING".
func IsCode(err error, code string) bool {
	var refused ServerError
	return errors.As(err, &refused) && refused.Code() == code
}

// Unanswered tells whether err is a question to which a node gave no answer within
// [Access.Timeout], though nobody refused the connection: it may be busy with a fork, or
// the machine with others, and answer the next one. Whether it has done what it
// was told is not known.
func Unanswered(err error) bool {
	return errors.Is(err, ErrUnreachable) && timedOut(err)
}

// timedOut tells a limit of the network that passed.
func timedOut(err error) bool {
	var timeout net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout()
}

// where names a node, and the address dialed for it where that is another.
func (a *Access) where(addr string) string {
	if to := a.NAT.reach(addr); to != addr && a.Connect == nil {
		return addr + " (through " + to + ")"
	}
	return addr
}

// explainDial turns what failed while connecting into one line.
func (a *Access) explainDial(ctx context.Context, addr string, err error) error {
	var refused ServerError
	var handshake *handshakeError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("connect to %s: %w", a.where(addr), ctx.Err())
	case errors.As(err, &refused):
		return a.explainReply(addr, "AUTH", refused)
	case errors.As(err, &handshake):
		return a.explainTLS(addr, handshake.error)
	}
	advice := hintReach
	switch {
	case a.TLS == nil && looksLikeTLS(err):
		advice = hintPlain
	case a.TLS != nil && wantsCertificate(err):
		advice = hintCert
	case a.TLS != nil && len(a.TLS.Certificates) == 0 && hungUp(err):
		advice = hintMaybeCert
	}
	return hint.Add(&nodeError{fmt.Sprintf("connect to %s: %s", a.where(addr), a.plainWords(err)), ErrUnreachable, err}, advice)
}

// explainTLS says whose certificate or whose protocol is the trouble.
func (a *Access) explainTLS(addr string, err error) error {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	advice, text := hintTLS, a.plainWords(err)
	switch {
	case errors.As(err, &record):
		text = "it answers, but not with TLS"
	case errors.As(err, &unknown):
		advice, text = hintCA, "the certificate is signed by an authority that is not trusted"
	case errors.As(err, &name), errors.As(err, &verify):
		advice = hintCA
		text = "the certificate is not accepted: " + strings.TrimPrefix(text, "tls: failed to verify certificate: ")
	case strings.Contains(err.Error(), "certificate required"), strings.Contains(err.Error(), "bad certificate"):
		advice = hintCert
	}
	return hint.Add(&nodeError{fmt.Sprintf("connect to %s with TLS: %s", a.where(addr), text), ErrUnreachable, err}, advice)
}

// explain turns the failure of a command into one line; nil and "no value"
// are no failure.
func (a *Access) explain(ctx context.Context, addr, command string, err error) error {
	if err == nil || errors.Is(err, redis.Nil) {
		return nil
	}
	over := overdue(ctx)
	var dial *dialFailure
	var reply redis.Error
	switch {
	case errors.As(err, &dial):
		return dial.err // says all there is to say
	case errors.As(err, &reply):
		return a.explainReply(addr, command, ServerError(reply.Error()))
	case over != nil:
		return fmt.Errorf("run %s on %s: %w", command, a.where(addr), over)
	}
	advice := hintReach
	switch {
	case a.TLS == nil && looksLikeTLS(err):
		advice = hintPlain
	case a.TLS != nil && wantsCertificate(err):
		advice = hintCert
	case a.TLS != nil && len(a.TLS.Certificates) == 0 && hungUp(err):
		advice = hintMaybeCert
	}
	return hint.Add(&nodeError{fmt.Sprintf("run %s on %s: %s", command, a.where(addr), a.plainWords(err)), ErrUnreachable, err}, advice)
}

// overdue tells whether a context is over, and how. The connection that bears its
// deadline may be ended by it a moment before the context's own timer runs: whoever
// asks for the context's cause next has to find it.
func overdue(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && !clock.Now().Before(deadline) {
		<-ctx.Done()
	}
	return ctx.Err()
}

// explainReply turns an error reply into one line. A server repeats arguments
// of commands it does not know, so the password is cut out of its words.
func (a *Access) explainReply(addr, command string, reply ServerError) error {
	if a.Password != "" {
		reply = ServerError(strings.ReplaceAll(string(reply), a.Password.Reveal(), hidden))
	}
	line := func(kind error, format string, args ...any) error {
		return &nodeError{fmt.Sprintf(format, args...), kind, reply}
	}
	at := a.where(addr)
	switch text := string(reply); {
	case reply.Code() == "WRONGPASS", text == "ERR invalid password":
		return hint.Add(line(ErrAuth, "authenticate on %s as %s: the server refused the password", at, a.User()), hintPassword)
	case reply.Code() == "NOAUTH":
		return hint.Add(line(ErrAuth, "authenticate on %s: the server wants a password and none was given", at), hintNoAuth)
	case strings.HasPrefix(text, "ERR AUTH <password> called without any password configured"):
		return hint.Add(line(ErrAuth, "authenticate on %s as %s: the server has no password set, but one was given", at, a.User()), hintPassword)
	case reply.Code() == "NOPERM":
		return hint.Add(line(ErrAuth, "run %s on %s as %s: the server does not allow it to this user", command, at, a.User()), hintACL)
	case strings.Contains(text, "cluster support disabled"):
		return hint.Add(line(ErrNotCluster, "run %s on %s: the server does not run in cluster mode", command, at), hintCluster)
	}
	return line(nil, "run %s on %s: %s", command, at, string(reply))
}

// plainWords is an error of the network without Go's own decoration.
func (a *Access) plainWords(err error) string {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return "the name " + dns.Name + " cannot be resolved"
	case timedOut(err):
		return fmt.Sprintf("no answer within %s", a.timeout())
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case hungUp(err):
		return "the node closed the connection"
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return strings.ReplaceAll(err.Error(), "\n", " ")
}

// wantsCertificate tells a server that refused a client without a certificate.
// With TLS 1.3 its verdict comes after the handshake, with the first answer.
func wantsCertificate(err error) bool { return strings.Contains(err.Error(), "certificate required") }

// hungUp tells a connection that the other side has closed. A server that closes
// right after its verdict may be met so, and the verdict never be read.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// looksLikeTLS guesses from a failed plain conversation that the other side
// expected TLS: it hangs up, or answers with an alert record (0x15 0x03).
func looksLikeTLS(err error) bool {
	return hungUp(err) || strings.Contains(err.Error(), "\x15\x03") || strings.Contains(err.Error(), `\x15\x03`)
}

// containers are the commands whose second word is a command of its own.
var containers = map[string]bool{
	"ACL": true, "CLIENT": true, "CLUSTER": true, "CONFIG": true, "DEBUG": true, "FUNCTION": true,
	"LATENCY": true, "MEMORY": true, "MODULE": true, "OBJECT": true, "SCRIPT": true, "XGROUP": true, "XINFO": true,
}

// commandName is what an error may say of a command: never its arguments,
// among which passwords are.
func commandName(args []any) string {
	if len(args) == 0 {
		return "nothing"
	}
	name := strings.ToUpper(fmt.Sprint(args[0]))
	if len(args) > 1 && containers[name] {
		name += " " + strings.ToUpper(fmt.Sprint(args[1]))
	}
	return name
}
