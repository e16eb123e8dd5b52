"use strict";

// Shows the API's description, and sends the token that is entered at Authorize with every request to this node: what may be seen
// with it is shown as well, so the description is loaded again.
let token = "";

const reload = (action, system) => (payload) => {
  const result = action(payload);
  const given = system.authSelectors.authorized().getIn(["bearer", "value"]) || "";
  if (given !== token) {
    token = given;
    system.specActions.download();
  }
  return result;
};

window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  filter: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  validatorUrl: null,
  syntaxHighlight: { activated: true, theme: "agate" },
  presets: [SwaggerUIBundle.presets.apis],
  plugins: [() => ({ statePlugins: { auth: { wrapActions: { authorize: reload, logout: reload } } } })],
  requestInterceptor: (request) => {
    if (request.loadSpec && token) request.headers = { ...request.headers, Authorization: "Bearer " + token };
    return request;
  },
});
