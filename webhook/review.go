// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/shuntmesh/shunt/webhook/inject"
)

// maxMessage bounds what a refusal says, in bytes: a value may be 256 KiB long,
// and the message ends up in Events, which hold 1 KiB.
const maxMessage = 1024

// Verdict is what became of a request; it is a metric's label.
type Verdict string

// The verdicts.
const (
	Injected Verdict = "injected"
	Skipped  Verdict = "skipped"
	Refused  Verdict = "refused"
)

// notPodCreation is the reason for leaving alone what a broader registration
// than ours may send.
const notPodCreation inject.Reason = "NotAPodCreation"

// namespaceUnread is the reason for refusing a pod when its namespace can't be
// read: what the namespace says of it is unknown then.
const namespaceUnread inject.Reason = "NamespaceUnread"

// noPod is the reason for refusing an object that can't be parsed as a pod.
const noPod inject.Reason = "NoPod"

// Answer is what Review decided, for the wire, the log, metrics and Events.
type Answer struct {
	Body      []byte // an AdmissionReview as JSON
	Verdict   Verdict
	Reason    inject.Reason
	Message   string // the words for a human
	Namespace string
	Pod       string                 // the name, or the generateName with a "*"
	Name      string                 // the pod's own name, "" while it has none
	Owner     *metav1.OwnerReference // the pod's controller, nil without one
	DryRun    bool
}

// Lookup returns the namespace of a pod.
type Lookup func(name string) (inject.Namespace, error)

// Review answers one AdmissionReview of admission.k8s.io/v1. It has no side
// effects but those of lookup, which is called for what is a pod's creation. An
// error means that no answer can be given, since body is none: the caller is at
// fault (HTTP 400).
func Review(body []byte, o inject.Options, lookup Lookup) (Answer, error) {
	req, err := parseReview(body)
	if err != nil {
		return Answer{}, err
	}
	answer, response := decide(req, o, lookup)
	answer.Namespace = req.Namespace // the pod's own is empty as often as not
	answer.DryRun = req.DryRun != nil && *req.DryRun
	response.UID = req.UID
	answer.Body, err = json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Response: response,
	})
	if err != nil {
		return Answer{}, fmt.Errorf("encode answer: %w", err)
	}
	return answer, nil
}

func parseReview(body []byte) (*admissionv1.AdmissionRequest, error) {
	var review admissionv1.AdmissionReview
	if err := utiljson.Unmarshal(body, &review); err != nil {
		return nil, fmt.Errorf("parse AdmissionReview: %w", err)
	}
	if want := admissionv1.SchemeGroupVersion.String(); review.Kind != "AdmissionReview" || review.APIVersion != want {
		return nil, fmt.Errorf("parse AdmissionReview: got kind %q of %q (allowed: AdmissionReview of %s; set admissionReviewVersions: [v1])",
			review.Kind, review.APIVersion, want)
	}
	if review.Request == nil {
		return nil, errors.New("parse AdmissionReview: it has no request")
	}
	if review.Request.UID == "" {
		return nil, errors.New("parse AdmissionReview: its request has no uid")
	}
	return review.Request, nil
}

func decide(req *admissionv1.AdmissionRequest, o inject.Options, lookup Lookup) (Answer, *admissionv1.AdmissionResponse) {
	if !podCreation(req) {
		return skipped(Answer{}, notPodCreation, "only the creation of pods is of interest")
	}
	pod := new(corev1.Pod)
	if err := utiljson.Unmarshal(req.Object.Raw, pod); err != nil {
		return refused(Answer{Pod: req.Name, Reason: noPod}, http.StatusBadRequest, fmt.Errorf("parse pod: %w", err))
	}
	answer := Answer{Pod: podName(pod), Name: pod.Name, Owner: metav1.GetControllerOfNoCopy(pod)}
	ns, err := lookup(req.Namespace)
	if err != nil {
		answer.Reason = namespaceUnread
		return refused(answer, http.StatusServiceUnavailable, err)
	}
	d, err := inject.Decide(pod, ns, o)
	if err != nil {
		answer.Reason = refusalReason(err)
		return refused(answer, http.StatusBadRequest, err)
	}
	if !d.Injected() {
		return skipped(answer, d.Reason, d.Reason.Words())
	}
	return injected(answer, d)
}

func injected(a Answer, d inject.Decision) (Answer, *admissionv1.AdmissionResponse) {
	patch, err := json.Marshal(d.Patch)
	if err != nil {
		return refused(a, http.StatusInternalServerError, fmt.Errorf("encode patch: %w", err))
	}
	a.Verdict, a.Reason, a.Message = Injected, d.Reason, d.Reason.Words()
	kind := admissionv1.PatchTypeJSONPatch
	return a, &admissionv1.AdmissionResponse{Allowed: true, Patch: patch, PatchType: &kind, Warnings: d.Warnings}
}

func refusalReason(err error) inject.Reason {
	if refusal := new(inject.Refusal); errors.As(err, &refusal) {
		return refusal.Reason
	}
	return ""
}

func podCreation(req *admissionv1.AdmissionRequest) bool {
	pods := metav1.GroupVersionResource{Version: "v1", Resource: "pods"}
	return req.Resource == pods && req.SubResource == "" && req.Operation == admissionv1.Create
}

// skipped lets the object pass as it is. The audit log of the cluster keeps why.
func skipped(a Answer, why inject.Reason, words string) (Answer, *admissionv1.AdmissionResponse) {
	a.Verdict, a.Reason, a.Message = Skipped, why, words
	return a, &admissionv1.AdmissionResponse{Allowed: true, AuditAnnotations: map[string]string{"skipped": words}}
}

// refused answers with the status that the creator of the pod gets.
func refused(a Answer, code int32, err error) (Answer, *admissionv1.AdmissionResponse) {
	a.Verdict, a.Message = Refused, shorten(err.Error())
	reason := metav1.StatusReasonBadRequest
	if code != http.StatusBadRequest {
		reason = metav1.StatusReasonServiceUnavailable
	}
	return a, &admissionv1.AdmissionResponse{Allowed: false, Result: &metav1.Status{
		Status:  metav1.StatusFailure,
		Reason:  reason,
		Code:    code,
		Message: a.Message,
	}}
}

// shorten keeps both ends: the key stands at the beginning of a message, and
// what is allowed at its end.
func shorten(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	const half = maxMessage/2 - 4
	return strings.ToValidUTF8(message[:half], "") + " ... " + strings.ToValidUTF8(message[len(message)-half:], "")
}

func podName(pod *corev1.Pod) string {
	if pod.Name == "" && pod.GenerateName != "" {
		return pod.GenerateName + "*"
	}
	return pod.Name
}
