package caddysnake

import "testing"

func TestFoldFrames(t *testing.T) {
	const (
		head   = "Traceback (most recent call last):\n"
		lib    = "  File \"/v/lib/python3.13/site-packages/web.py\", line 1, in call\n    await app()\n    ~~~^^\n"
		own    = "  File \"/srv/shop/main.py\", line 7, in app\n    {}[1]\n"
		raised = "KeyError: 1"
		fold   = "  … 3 frames of installed packages\n"
	)
	for _, test := range []struct{ name, text, want string }{
		{"in front of the application's", head + lib + lib + lib + own + raised, head + fold + own + raised},
		{"two", head + lib + lib + own + raised, head + lib + lib + own + raised},
		{"what raises", head + own + lib + lib + lib + raised, head + own + lib + lib + lib + raised},
		{"twice", head + lib + lib + lib + own + lib + lib + lib + own + raised, head + fold + own + fold + own + raised},
		{"after the cause of another", head + lib + lib + lib + raised + "\n\nDuring …\n\n" + head + own + raised,
			head + lib + lib + lib + raised + "\n\nDuring …\n\n" + head + own + raised},
		{"none", "one line", "one line"},
	} {
		if got := foldFrames(test.text); got != test.want {
			t.Errorf("%s:\n%s\nwant:\n%s", test.name, got, test.want)
		}
	}
}
