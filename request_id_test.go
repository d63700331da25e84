package caddysnake

import "testing"

func TestIDFieldsTakeOnlyIDs(t *testing.T) {
	const id, trace, span = "0f6a1a8e-6e3c-4c3b-9b1c-0123456789ab", "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for ids, want := range map[string]int{
		"": 0, id: 1, id + " " + trace + " " + span: 3, id + " " + trace: 0, id + "\n": 0, " " + id: 0, "x": 0,
	} {
		if got := len(idFields(ids)); got != want {
			t.Errorf("%q: %d fields instead of %d", ids, got, want)
		}
	}
}
