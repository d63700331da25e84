package caddysnake

import (
	"strings"
	"testing"
	"time"
)

func TestTablesFitTheTerminal(t *testing.T) {
	table := textTable{head: []string{"APP", "N", "DIRECTORY"}, right: []bool{false, true, false}, keepEnd: true}
	table.add("shop", "7", "/srv/a/long/way/down/to/shop")
	table.add("größe", "12", "/srv")
	for width, want := range map[int]string{
		0:  "APP     N  DIRECTORY\nshop    7  /srv/a/long/way/down/to/shop\ngröße  12  /srv\n",
		30: "APP     N  DIRECTORY\nshop    7  …g/way/down/to/shop\ngröße  12  /srv\n",
		20: "APP     N\nshop    7\ngröße  12\n",
		6:  "APP\nshop\ngröße\n",
	} {
		var out strings.Builder
		table.write(&out, width)
		if got := out.String(); strings.ReplaceAll(got, " \n", "\n") != want {
			t.Errorf("width %d:\n%s\nnot\n%s", width, got, want)
		}
	}
	table.keepEnd = false
	if got := table.cut("GET /a/long/way", 8); got != "GET /a/…" {
		t.Errorf("got %q", got)
	}
	if got := cutMiddle("main:app (alice.example.com)", 11); got != "main:….com)" {
		t.Errorf("got %q", got)
	}
}

func TestAgesAreShort(t *testing.T) {
	for age, want := range map[time.Duration]string{
		59 * time.Second: "59s", 61 * time.Second: "1m", 47 * time.Hour: "47h", 50 * time.Hour: "2d",
	} {
		if got := shortAge(age); got != want {
			t.Errorf("%s: %s", age, got)
		}
	}
}
