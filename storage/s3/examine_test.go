package s3_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/s3test"
	"github.com/slotark/slotark/storage/contract"
)

// TestExamineAbort has servers on which giving an upload up goes wrong, and
// one that does not let it be looked at.
func TestExamineAbort(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.Bucket(t, "backups")
	aborts := func(r *http.Request) bool {
		return r.Method == http.MethodDelete && r.URL.Query().Has("uploadId")
	}
	looks := func(r *http.Request) bool {
		return r.Method == http.MethodGet && r.URL.Query().Has("uploadId")
	}
	deny := func(w http.ResponseWriter, r *http.Request) {
		s3test.Answer(w, r, http.StatusForbidden, "AccessDenied", "Access Denied.")
	}
	for name, c := range map[string]struct {
		meets          func(*http.Request) bool
		answer         func(http.ResponseWriter, *http.Request)
		want           contract.Result
		detail, advice string
		left           int
	}{
		"sound": {func(*http.Request) bool { return false }, nil, contract.OK, "leaves nothing", "", 0},
		"leaves the upload": {aborts, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
			contract.Fail, "still there after it was aborted", "lifecycle rule", 1},
		"denied": {aborts, deny, contract.Warn, "access denied", "s3:AbortMultipartUpload", 1},
		"a part is refused": {sends, func(w http.ResponseWriter, r *http.Request) {
			s3test.Answer(w, r, http.StatusNotImplemented, "NotImplemented", "No such verb here.")
		}, contract.Fail, "does not know this kind of request", "lifecycle rule", 0},
		"looking is denied": {looks, deny, contract.Warn, "not known: access denied", "s3:ListMultipartUploadParts", 0},
	} {
		t.Run(name, func(t *testing.T) {
			proxy := server.Proxy(t, func(w http.ResponseWriter, r *http.Request) bool {
				if c.meets(r) {
					c.answer(w, r)
					return true
				}
				return false
			})
			before := len(server.Uploads(t, bucket))
			var found contract.Finding
			for _, f := range open(t, proxy, bucket, "pre").Examine(t.Context(), strings.ReplaceAll(name, " ", "-")) {
				if f.Check == "multipart abort" {
					found = f
				}
			}
			if found.Result != c.want || !strings.Contains(found.Detail, c.detail) || !strings.Contains(found.Advice, c.advice) || strings.Contains(found.Detail, "\n") {
				t.Errorf("found %+v", found)
			}
			if left := len(server.Uploads(t, bucket)) - before; left != c.left {
				t.Errorf("%d uploads are left, want %d: the test tests something else", left, c.left)
			}
		})
	}
}
