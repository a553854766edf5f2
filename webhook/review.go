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

	"github.com/shuntmesh/shunt/internal/contract"
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

// Answer is what Review decided, for the wire and for the log.
type Answer struct {
	Body      []byte // an AdmissionReview as JSON
	Verdict   Verdict
	Reason    inject.Reason // for Skipped
	Message   string        // for Skipped and Refused: the words for a human
	Namespace string
	Pod       string // the name, or the generateName with a "*"
	DryRun    bool
}

// Review answers one AdmissionReview of admission.k8s.io/v1. It has no side
// effects. An error means that no answer can be given, since body is none: the
// caller is at fault (HTTP 400).
func Review(body []byte, o inject.Options) (Answer, error) {
	req, err := parseReview(body)
	if err != nil {
		return Answer{}, err
	}
	answer, response := decide(req, o)
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

func decide(req *admissionv1.AdmissionRequest, o inject.Options) (Answer, *admissionv1.AdmissionResponse) {
	if !podCreation(req) {
		return skipped(Answer{}, notPodCreation, "only the creation of pods is of interest")
	}
	pod := new(corev1.Pod)
	if err := utiljson.Unmarshal(req.Object.Raw, pod); err != nil {
		return refused(Answer{Pod: req.Name}, fmt.Errorf("parse pod: %w", err))
	}
	answer := Answer{Pod: podName(pod)}
	d, err := inject.Decide(pod, namespaceOf(req), o)
	if err != nil {
		return refused(answer, err)
	}
	if !d.Injected() {
		return skipped(answer, d.Reason, d.Reason.Words())
	}
	patch, err := json.Marshal(d.Patch)
	if err != nil {
		return refused(answer, fmt.Errorf("encode patch: %w", err))
	}
	answer.Verdict = Injected
	kind := admissionv1.PatchTypeJSONPatch
	return answer, &admissionv1.AdmissionResponse{Allowed: true, Patch: patch, PatchType: &kind, Warnings: d.Warnings}
}

// namespaceOf takes for labelled the namespace of a pod that doesn't say
// anything itself: the API server would not have called otherwise.
func namespaceOf(req *admissionv1.AdmissionRequest) inject.Namespace {
	return inject.Namespace{Name: req.Namespace, Labels: map[string]string{contract.LabelInject: contract.InjectEnabled}}
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

func refused(a Answer, err error) (Answer, *admissionv1.AdmissionResponse) {
	a.Verdict, a.Message = Refused, shorten(err.Error())
	return a, &admissionv1.AdmissionResponse{Allowed: false, Result: &metav1.Status{
		Status:  metav1.StatusFailure,
		Reason:  metav1.StatusReasonBadRequest,
		Code:    http.StatusBadRequest,
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
