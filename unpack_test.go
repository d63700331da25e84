package caddysnake

import (
	"encoding/binary"
	"slices"
	"testing"
)

func packHeaders(pairs ...string) (packed []byte) {
	for i := 0; i < len(pairs); i += 2 {
		packed = binary.LittleEndian.AppendUint32(packed, uint32(len(pairs[i])))
		packed = binary.LittleEndian.AppendUint32(packed, uint32(len(pairs[i+1])))
		packed = append(append(packed, pairs[i]...), pairs[i+1]...)
	}
	return packed
}

func TestHeadersAreUnpackedWholeOrNotAtAll(t *testing.T) {
	packed := packHeaders("content-type", "text/plain", "X-A", "")
	headers, ok := unpackHeaders(packed, 2)
	if !ok || !slices.Equal(headers.names, []string{"Content-Type", "X-A"}) || !slices.Equal(headers.values, []string{"text/plain", ""}) {
		t.Errorf("%v, %v", headers, ok)
	}
	if headers, ok := unpackHeaders(nil, 0); !ok || len(headers.names) > 0 {
		t.Errorf("none: %v, %v", headers, ok)
	}
	for name, c := range map[string]struct {
		packed []byte
		n      int
	}{
		"one header too few":  {packed, 3},
		"one header too many": {packed, 1},
		"truncated":           {packed[:len(packed)-1], 2},
		"a negative count":    {packed, -1},
		"a huge count":        {packed, 1 << 31},
		"a long name":         {append([]byte{255, 255, 255, 255}, make([]byte, 8)...), 1},
		"a long value":        {append([]byte{1, 0, 0, 0, 255, 255, 255, 255}, make([]byte, 8)...), 1},
	} {
		if headers, ok := unpackHeaders(c.packed, c.n); ok {
			t.Errorf("%s: %v", name, headers)
		}
	}
}

func TestLinksOfAHintAreUnpackedWholeOrNotAtAll(t *testing.T) {
	if links, ok := unpackLinks([]byte("\x01\x00\x00\x00a\x02\x00\x00\x00bc")); !ok || !slices.Equal(links, []string{"a", "bc"}) {
		t.Errorf("%q, %v", links, ok)
	}
	for _, packed := range []string{"\x01", "\x02\x00\x00\x00a", "\xff\xff\xff\xffa"} {
		if links, ok := unpackLinks([]byte(packed)); ok {
			t.Errorf("%q: %q", packed, links)
		}
	}
}

func TestARecordWhoseSourceDoesNotFitIsAllMessage(t *testing.T) {
	for n, want := range map[int][2]string{2: {"ab", "cd"}, 4: {"abcd", ""}, 5: {"", "abcd"}, -1: {"", "abcd"}} {
		if source, message := splitRecord([]byte("abcd"), n); source != want[0] || message != want[1] {
			t.Errorf("%d: %q, %q", n, source, message)
		}
	}
}
