package httpapi

import (
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

// TestDocsInBrowser: a real browser shows every operation under the page's policy, without a word of complaint and without asking
// anybody else; a token that is entered there is sent, and shows the types of task; what is tried out is done.
func TestDocsInBrowser(t *testing.T) {
	s := newSetup(func(o *Options) { o.Anonymous, o.LoopbackOnly = AnonymousNone, true })
	token := s.people.add(t, "ann", nil, []string{"test.main.secret"})
	server := httptest.NewServer(s)
	defer server.Close()
	b := openTab(t)
	for _, path := range []string{"/docs", "/"} {
		b.open(server.URL + path)
		if got, want := b.until(`document.querySelectorAll(".opblock").length`), len(describerOf(AnonymousNone).routes); got != strconv.Itoa(want) {
			t.Errorf("%s shows %s operations, want %d", path, got, want)
		}
	}
	text := b.eval(`document.querySelector(".info").innerText`)
	if !strings.Contains(text, "pytasks API") || !strings.Contains(text, "curl") || !strings.Contains(text, "1.2.3") {
		t.Errorf("the page begins with %s", text)
	}

	b.click(".btn.authorize")
	b.fill(`input[aria-label='auth-bearer-value']`, strings.TrimPrefix(token, "Bearer "))
	b.click(".auth-btn-wrapper .authorize")
	b.until(`document.querySelector("[id$=run_test_main_secret]")`)
	b.click(".btn-done")
	b.click("[id$=run_test_main_secret] .opblock-summary-control")
	b.click("[id$=run_test_main_secret] .try-out__btn")
	b.fill("[id$=run_test_main_secret] textarea.body-param__text", `{"x": 12345678901234567890}`)
	b.click("[id$=run_test_main_secret] .execute")
	status := b.until(`document.querySelector("[id$=run_test_main_secret] .live-responses-table tbody .response-col_status").innerText`)
	if !strings.HasPrefix(status, "200") {
		t.Errorf("what is tried out is answered %s", status)
	}
	s.tasks.mu.Lock()
	defer s.tasks.mu.Unlock()
	if len(s.tasks.submits) != 1 {
		t.Fatalf("%d tasks were queued", len(s.tasks.submits))
	}
	if n := s.tasks.submits[0].Tasks[0]; n.Type != "test.main.secret" || strings.ReplaceAll(string(n.Args), " ", "") != `{"x":12345678901234567890}` {
		t.Errorf("queued %s %s", n.Type, n.Args)
	}
	b.harmless(server.URL)
}
