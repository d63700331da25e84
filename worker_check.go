package caddysnake

// Looks at the workers of an app once a second: how old and large they are, and whether
// they live.

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/dustin/go-humanize"
	"go.uber.org/zap"
)

const checkInterval = time.Second

// check looks at the workers until they are to end.
func (ws *workers) check() {
	ticker := time.NewTicker(checkInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ws.end.Done():
			return
		case now := <-ticker.C:
			for _, act := range ws.checkAll(now) {
				act()
			}
		}
	}
}

// checkAll returns what is to be done without the lock.
func (ws *workers) checkAll(now time.Time) (actions []func()) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, w := range ws.ready {
		ws.checkLimits(w, now)
	}
	for _, w := range slices.Concat(ws.ready, ws.leaving) {
		if act := w.checkPulse(now); act != nil {
			actions = append(actions, act)
		}
	}
	return actions
}

// checkLimits has a worker replaced that is too old or too large.
func (ws *workers) checkLimits(w *worker, now time.Time) {
	lived := now.Sub(w.begun)
	if w.lifetime > 0 && lived >= w.lifetime {
		ws.renew(w, "max_age", zap.Duration("age", lived))
	}
	// An app that needs more from its start is not replaced again and again at once.
	if limit := ws.config.Limits.Memory; limit > 0 && lived >= healthyAfter {
		if size := residentMemory(w.process.process.pid); size > limit {
			ws.renew(w, "max_memory", zap.String("memory", humanize.IBytes(uint64(size))))
		}
	}
}

// residentMemory returns the resident memory of a process in bytes; 0 if it has ended.
func residentMemory(pid int) int64 {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	fields := bytes.Fields(statm)
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
