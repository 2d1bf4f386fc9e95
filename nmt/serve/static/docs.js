"use strict";
// Shows openapi.json: each path with its fields.

async function show() {
  const description = await (await fetch("/openapi.json")).json();
  const add = (parent, tag, text, name) => {
    const made = document.createElement(tag);
    if (text) made.textContent = text;
    if (name) made.className = name;
    parent.append(made);
    return made;
  };
  for (const [path, methods] of Object.entries(description.paths)) {
    for (const [method, what] of Object.entries(methods)) {
      const card = add(document.getElementById("paths"), "article", "", "card");
      add(card, "h2", `${method.toUpperCase()} ${path}`);
      add(card, "p", what.summary);
      const schema = what.requestBody?.content["application/json"].schema;
      if (!schema) continue;
      const list = add(card, "ul");
      for (const [name, field] of Object.entries(schema.properties)) {
        const required = (schema.required || []).includes(name) ? ", required" : "";
        const type = field.type || (field.anyOf || []).map((one) => one.type).join(" or ");
        add(list, "li", `${name} (${type}${required}${field.default !== undefined ? ", default " + JSON.stringify(field.default) : ""}) ${field.description || ""}`);
      }
    }
  }
}
show();
