// Moves an amount that 32 bits do not hold through the client that oapi-codegen has made in api/.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	"client/api"
)

const amount int64 = 3_000_000_000

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(url, token string) error {
	ctx := context.Background()
	bearer := func(_ context.Context, request *http.Request) error {
		request.Header.Set("Authorization", "Bearer "+token)
		return nil
	}
	client, err := api.NewClientWithResponses(url, api.WithRequestEditorFn(bearer))
	if err != nil {
		return err
	}
	payer, err := client.OpenAccountWithResponse(ctx, &api.OpenAccountParams{}, api.AccountDraft{})
	if err != nil || payer.JSON201 == nil {
		return fmt.Errorf("open: %v %s", err, payer.Body)
	}
	payee, err := client.OpenAccountWithResponse(ctx, &api.OpenAccountParams{}, api.AccountDraft{})
	if err != nil || payee.JSON201 == nil {
		return fmt.Errorf("open: %v %s", err, payee.Body)
	}
	from, to := payer.JSON201.Id, payee.JSON201.Id
	credit, err := client.CreditWithResponse(ctx, from, &api.CreditParams{}, api.CreditDraft{Amount: amount})
	if err != nil || credit.JSON201 == nil {
		return fmt.Errorf("credit: %v %s", err, credit.Body)
	}
	key := "once"
	params, draft := &api.TransferParams{IdempotencyKey: &key}, api.TransferDraft{From: from, To: to, Amount: amount}
	for range 2 {
		made, err := client.TransferWithResponse(ctx, params, draft)
		if err != nil || made.JSON201 == nil {
			return fmt.Errorf("transfer: %v %s", err, made.Body)
		}
		if age := time.Since(made.JSON201.CreatedAt); age < -time.Minute || age > time.Minute {
			return fmt.Errorf("made at %v", made.JSON201.CreatedAt)
		}
	}
	found, err := client.GetAccountWithResponse(ctx, to)
	if err != nil || found.JSON200 == nil {
		return fmt.Errorf("get: %v %s", err, found.Body)
	}
	missing, err := client.GetAccountWithResponse(ctx, [16]byte{1})
	if err != nil || missing.ApplicationproblemJSON404 == nil {
		return fmt.Errorf("a problem that was not read: %v %s", err, missing.Body)
	}
	fmt.Println(found.JSON200.Balance, missing.ApplicationproblemJSON404.Code)
	return nil
}
