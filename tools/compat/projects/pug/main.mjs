import ejs from "ejs";
import Handlebars from "handlebars";
import pug from "pug";

const all = [
  pug.compile("ul\n  each item in items\n    li= item"),
  Handlebars.compile("<ul>{{#each items}}<li>{{this}}</li>{{/each}}</ul>"),
  ejs.compile("<ul><% for (const item of items) { %><li><%= item %></li><% } %></ul>"),
];
Deno.serve(() => Response.json(all.map((template) => template({ items: ["a", "<b>"] }))));
