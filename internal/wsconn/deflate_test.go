package wsconn

import "testing"

func TestOffersOfCompression(t *testing.T) {
	const answer = "permessage-deflate;server_no_context_takeover;client_no_context_takeover"
	for _, test := range []struct {
		offers []string
		want   string
	}{
		{nil, ""},
		{[]string{"permessage-bzip2"}, ""},
		{[]string{"not, \"a list"}, ""},
		{[]string{"permessage-deflate"}, answer},
		{[]string{"permessage-deflate; client_max_window_bits"}, answer},
		{[]string{"permessage-deflate; server_max_window_bits=15"}, answer + ";server_max_window_bits=15"},
		{[]string{"permessage-deflate; server_max_window_bits=10"}, ""},
		{[]string{"permessage-deflate; server_max_window_bits=10, permessage-deflate"}, answer},
		{[]string{"permessage-deflate; server_max_window_bits=10", "permessage-deflate"}, answer},
		{[]string{"permessage-deflate; unheard_of"}, ""},
	} {
		if got := negotiateDeflate(test.offers); got != test.want {
			t.Errorf("%q: %q", test.offers, got)
		}
	}
}
