package caddysnake

// Reloads an app's code while it serves: the new generation starts next to the old
// one and replaces it. The old generation ends after its last request.

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// reload loads the app's changed code.
func (a *App) reload(ctx context.Context, reason changes) {
	keep := a.config.Autoreload.OnError == "keep"
	_ = a.load(ctx, keep, zap.String("changed", reason.first), zap.Int("files", reason.files)) // it is in the log
}

// load loads the app's code again, and returns why it could not. keep: the app then keeps
// the code that was loaded before.
func (a *App) load(ctx context.Context, keep bool, reason ...zap.Field) error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	start := time.Now()
	logger := a.logger.Load()
	gen, err := loadGeneration(ctx, a)
	if ctx.Err() != nil && err != nil {
		return err // the app has been stopped, or nobody waits for it
	}
	fields := append([]zap.Field{zap.String("app", a.config.Module)}, reason...)
	fields = append(fields, zap.Duration("duration", time.Since(start)))
	if err == nil {
		logger.Info("python app reloaded", fields...)
		a.lastFailure.Store(nil)
		a.replace(gen, nil)
		return nil
	}
	failure := &loadFailure{err, time.Now()}
	a.lastFailure.Store(failure)
	if keep {
		logger.Error("reloading python app failed; it keeps the code that was loaded before", append(fields, zap.Error(err))...)
		return err
	}
	logger.Error("reloading python app failed; requests fail until it is fixed", append(fields, zap.Error(err))...)
	a.replace(nil, failure)
	return err
}

// drainLimits are those for a generation that a newer one has replaced.
func (a *App) drainLimits() drainLimits {
	if a.config.Autoreload != nil {
		return a.config.Autoreload.DrainLimits
	}
	return drainLimits{WebSockets: defaultGrace, Streams: defaultGrace, Requests: drainTimeout}
}

// replace replaces the current generation with gen, or with the reason why there is
// none.
func (a *App) replace(gen *generation, failure *loadFailure) {
	a.mu.Lock()
	if a.stopped {
		a.mu.Unlock()
		if gen != nil {
			gen.leave()
			retiring.Go(func() { gen.retire(drainLimits{}) })
		}
		return
	}
	if failure != nil { // set it before current becomes nil
		a.failure.Store(failure)
	}
	old := a.current.Swap(gen)
	if failure == nil {
		a.failure.Store(nil)
		a.meter.reloads.Inc()
	}
	if gen != nil { // the config may have changed meanwhile
		gen.appLog.logger.Store(a.logger.Load())
	}
	a.mu.Unlock()
	if old != nil {
		old.leave()
		retiring.Go(func() { old.retire(a.drainLimits()) })
	}
}
