package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

type record struct {
	ID        uuid.UUID         `json:"id"`
	Name      string            `json:"name"`
	Metadata  map[string]string `json:"metadata"`
	Data      json.RawMessage   `json:"data"`
	Version   int64             `json:"version"`
	CreatedAt time.Time         `json:"created_at"`
	UpdatedAt time.Time         `json:"updated_at"`
}

type draft struct {
	Name     string            `json:"name"`
	Metadata map[string]string `json:"metadata"`
	Data     json.RawMessage   `json:"data"`
}

type transferRequest struct {
	From      uuid.UUID `json:"from"`
	To        uuid.UUID `json:"to"`
	Amount    int64     `json:"amount"`
	Reference string    `json:"reference"`
}

type transferMade struct {
	ID uuid.UUID `json:"id"`
	transferRequest
	FromBalance int64     `json:"from_balance"`
	ToBalance   int64     `json:"to_balance"`
	CreatedAt   time.Time `json:"created_at"`
}

type handler struct {
	pool *pgxpool.Pool
	move mover
}

const columns = "id, name, metadata, data, version, created_at, updated_at"

func scanRecord(row pgx.Row) (record, error) {
	var r record
	err := row.Scan(&r.ID, &r.Name, &r.Metadata, &r.Data, &r.Version, &r.CreatedAt, &r.UpdatedAt)
	r.CreatedAt, r.UpdatedAt = r.CreatedAt.UTC(), r.UpdatedAt.UTC()
	return r, err
}

func (h *handler) getRecord(w http.ResponseWriter, r *http.Request) {
	id, err := uuid.Parse(chi.URLParam(r, "id"))
	if err != nil {
		problem(w, http.StatusUnprocessableEntity, "id: must be a UUID")
		return
	}
	found, err := scanRecord(h.pool.QueryRow(r.Context(),
		"SELECT "+columns+" FROM records WHERE id = $1", id))
	if errors.Is(err, pgx.ErrNoRows) {
		problem(w, http.StatusNotFound, "record not found")
		return
	}
	if err != nil {
		problem(w, http.StatusInternalServerError, "internal error")
		return
	}
	w.Header().Set("ETag", `"`+strconv.FormatInt(found.Version, 10)+`"`)
	write(w, http.StatusOK, found)
}

func (h *handler) listRecords(w http.ResponseWriter, r *http.Request) {
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || limit < 1 || limit > 100 {
		problem(w, http.StatusUnprocessableEntity, "limit: 1 to 100")
		return
	}
	rows, err := h.pool.Query(r.Context(),
		"SELECT "+columns+" FROM records ORDER BY id LIMIT $1", limit+1)
	if err != nil {
		problem(w, http.StatusInternalServerError, "internal error")
		return
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (record, error) {
		return scanRecord(row)
	})
	if err != nil {
		problem(w, http.StatusInternalServerError, "internal error")
		return
	}
	page := struct {
		Records    []record `json:"records"`
		NextCursor *string  `json:"next_cursor"`
	}{Records: found}
	if len(found) > limit {
		page.Records = found[:limit]
		cursor := base64.RawURLEncoding.EncodeToString(found[limit-1].ID[:])
		page.NextCursor = &cursor
	}
	write(w, http.StatusOK, page)
}

func (h *handler) createRecord(w http.ResponseWriter, r *http.Request) {
	var d draft
	if !read(w, r, &d) {
		return
	}
	if d.Name == "" || len(d.Name) > 200 {
		problem(w, http.StatusUnprocessableEntity, "name: 1 to 200 characters")
		return
	}
	if d.Metadata == nil {
		d.Metadata = map[string]string{}
	}
	if d.Data == nil {
		d.Data = json.RawMessage("null")
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	made := record{uuid.Must(uuid.NewV7()), d.Name, d.Metadata, d.Data, 1, now, now}
	_, err := h.pool.Exec(r.Context(),
		"INSERT INTO records ("+columns+") VALUES ($1, $2, $3, $4, $5, $6, $7)",
		made.ID, made.Name, made.Metadata, made.Data, made.Version, made.CreatedAt, made.UpdatedAt)
	if err != nil {
		problem(w, http.StatusInternalServerError, "internal error")
		return
	}
	w.Header().Set("Location", "/api/v1/records/"+made.ID.String())
	w.Header().Set("ETag", `"1"`)
	write(w, http.StatusCreated, made)
}

func (h *handler) transfer(w http.ResponseWriter, r *http.Request) {
	var request transferRequest
	if !read(w, r, &request) {
		return
	}
	if request.Amount <= 0 || request.From == request.To {
		problem(w, http.StatusUnprocessableEntity, "amount: above 0; from and to: two accounts")
		return
	}
	made := transferMade{ID: uuid.Must(uuid.NewV7()), transferRequest: request,
		CreatedAt: time.Now().UTC().Truncate(time.Microsecond)}
	err := pgx.BeginFunc(r.Context(), h.pool, func(tx pgx.Tx) error {
		return h.move(r.Context(), tx, caller(r).Subject, &made)
	})
	switch {
	case err == nil:
		write(w, http.StatusCreated, made)
	case errors.Is(err, errNotFound):
		problem(w, http.StatusNotFound, err.Error())
	case errors.Is(err, errNotOwner):
		problem(w, http.StatusForbidden, err.Error())
	case errors.Is(err, errInsufficient):
		problem(w, http.StatusConflict, err.Error())
	default:
		problem(w, http.StatusInternalServerError, "internal error")
	}
}

func read(w http.ResponseWriter, r *http.Request, into any) bool {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		problem(w, http.StatusBadRequest, "the body is not valid")
		return false
	}
	return true
}

func write(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		problem(w, http.StatusInternalServerError, "internal error")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func problem(w http.ResponseWriter, status int, detail string) {
	body, _ := json.Marshal(map[string]any{
		"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": detail,
	})
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
