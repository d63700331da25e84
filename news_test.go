package caddysnake

import (
	"errors"
	"testing"
)

func TestNewsOfSlotsArePassedOnInTheirOrder(t *testing.T) {
	first, _, _, _ := slotNowhere(t)
	second, _, _, _ := slotNowhere(t)
	for _, s := range []*slot{first, second} {
		s.refs.Add(appRef)
		s.wire.to_go = goOut | goReleased
	}
	*(*uint32)(&second.wire.next_up) = first.id + 1
	if err := slots.dispatch(second.id + 1); err != nil {
		t.Error(err)
	}
	for _, s := range []*slot{first, second} {
		if len(s.piece) != 1 || s.take(goOut) != goOut || s.wire.to_go != 0 || s.refs.Load() != 1 {
			t.Errorf("%d: told %d times, %d references", s.id, len(s.piece), s.refs.Load())
		}
		s.release()
	}
}

func TestABrokenListOfNewsIsDropped(t *testing.T) {
	s, _, _, _ := slotNowhere(t)
	defer s.release()
	for name, c := range map[string]struct{ newest, next uint32 }{
		"no slot at the front": {1<<32 - 1, 0},
		"no slot behind":       {s.id + 1, 1 << 30},
		"a circle":             {s.id + 1, s.id + 1},
	} {
		s.wire.to_go = goOut
		*(*uint32)(&s.wire.next_up) = c.next
		if err := slots.dispatch(c.newest); !errors.Is(err, errBrokenList) || len(s.piece) > 0 {
			t.Errorf("%s: %v, told %d times", name, err, len(s.piece))
		}
	}
}

func TestASlotThatNoAppHasIsNotReleasedByOne(t *testing.T) {
	s, _, _, _ := slotNowhere(t)
	s.wire.to_go = goReleased
	if err := slots.dispatch(s.id + 1); !errors.Is(err, errReleaseTwice) {
		t.Error(err)
	}
	if isPooled(s) || s.refs.Load() != 1 {
		t.Error("it was released")
	}
	s.release()
}
