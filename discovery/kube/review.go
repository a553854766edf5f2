// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"slices"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedauthenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"

	"github.com/shuntmesh/shunt/discovery/auth"
)

// Reviewer asks the API server about tokens. It needs create on
// tokenreviews.authentication.k8s.io.
type Reviewer struct {
	reviews  typedauthenticationv1.TokenReviewInterface
	audience string
}

var _ auth.Reviewer = (*Reviewer)(nil)

// NewReviewer returns a reviewer that accepts tokens of one audience only: a
// token that was made for the API server must not work here.
func NewReviewer(reviews typedauthenticationv1.TokenReviewInterface, audience string) *Reviewer {
	return &Reviewer{reviews: reviews, audience: audience}
}

// Review returns the user name of a good token.
func (r *Reviewer) Review(ctx context.Context, token string) (string, error) {
	review, err := r.reviews.Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{r.audience}},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("create TokenReview: %w", err)
	}
	st := review.Status
	if !st.Authenticated {
		return "", fmt.Errorf("%w: %s", auth.ErrRejected, st.Error)
	}
	// An API server whose authenticator knows no audiences leaves the list
	// empty; it has then not checked ours.
	if !slices.Contains(st.Audiences, r.audience) {
		return "", fmt.Errorf("%w: its audiences are %v", auth.ErrRejected, st.Audiences)
	}
	return st.User.Username, nil
}
