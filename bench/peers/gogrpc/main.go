// GetRecord in Go: grpc-go, pgx with a pool of 25, and the usual interceptors (slog line, recovery,
// JWT whose tokens are remembered, rate limit, deadline), one query a call. Started by bench/rpc_layer.py. The messages are made
// from our proto (protoc-gen-go, protoc-gen-go-grpc) into pb/.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"peer/pb"
)

type records struct {
	pb.UnimplementedRecordServiceServer
	pool *pgxpool.Pool
}

func (s *records) GetRecord(ctx context.Context, req *pb.GetRecordRequest) (*pb.GetRecordResponse, error) {
	id, err := uuid.Parse(req.GetId())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "id is no UUID")
	}
	record := &pb.Record{Id: id.String()}
	var meta []byte
	var created, updated time.Time
	err = s.pool.QueryRow(ctx,
		"SELECT name, metadata, data::text, version, created_at, updated_at FROM records WHERE id = $1", id,
	).Scan(&record.Name, &meta, &record.Data, &record.Version, &created, &updated)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, status.Error(codes.NotFound, "record not found")
	}
	if err != nil {
		return nil, status.Error(codes.Internal, "internal error")
	}
	if err := json.Unmarshal(meta, &record.Metadata); err != nil {
		return nil, status.Error(codes.Internal, "internal error")
	}
	record.CreatedAt, record.UpdatedAt = created.Unix(), updated.Unix()
	return &pb.GetRecordResponse{Record: record}, nil
}

func logging(logger *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		start := time.Now()
		id := uuid.NewString()
		reply, err := next(ctx, req)
		_ = grpc.SetTrailer(ctx, metadata.Pairs("x-request-id", id))
		logger.Info("call completed", "request_id", id, "method", info.FullMethod,
			"code", status.Code(err).String(),
			"duration_ms", float64(time.Since(start).Microseconds())/1000)
		return reply, err
	}
}

func recovery(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (reply any, err error) {
	defer func() {
		if found := recover(); found != nil {
			err = status.Error(codes.Internal, "internal error")
		}
	}()
	return next(ctx, req)
}

func deadline(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return next(ctx, req)
}

func authenticate(secret []byte) grpc.UnaryServerInterceptor {
	tokens := newVerifier(secret)
	var limiters sync.Map
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		given := metadata.ValueFromIncomingContext(ctx, "authorization")
		if len(given) != 1 {
			return nil, status.Error(codes.Unauthenticated, "this needs a bearer token")
		}
		token, _ := strings.CutPrefix(given[0], "Bearer ")
		who, err := tokens.verify(token)
		if err != nil {
			return nil, status.Error(codes.Unauthenticated, "the token is not valid")
		}
		if !slices.Contains(strings.Fields(who.Scope), "records:read") {
			return nil, status.Error(codes.PermissionDenied, "the token lacks the scope")
		}
		found, ok := limiters.Load(who.Subject)
		if !ok {
			found, _ = limiters.LoadOrStore(who.Subject, rate.NewLimiter(10_000_000, 20_000_000))
		}
		if limiter, _ := found.(*rate.Limiter); !limiter.Allow() {
			return nil, status.Error(codes.ResourceExhausted, "too many requests")
		}
		return next(ctx, req)
	}
}

func main() {
	logger := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	config, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		logger.Error("database url", "error", err)
		os.Exit(2)
	}
	config.MaxConns, config.MinConns = 25, 5
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		logger.Error("database", "error", err)
		os.Exit(1)
	}
	defer pool.Close()
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(
		logging(logger), recovery, deadline, authenticate([]byte(os.Getenv("JWT_SECRET"))),
	))
	pb.RegisterRecordServiceServer(server, &records{pool: pool})
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("APP_GRPC_PORT"))
	if err != nil {
		logger.Error("listen", "error", err)
		os.Exit(1)
	}
	go func() {
		<-ctx.Done()
		server.GracefulStop()
	}()
	if err := server.Serve(listener); err != nil {
		logger.Error("serve", "error", err)
		os.Exit(1)
	}
}
