// GraphQL with Yoga: queries, mutations, and subscriptions as server-sent events.
import { createPubSub, createSchema, createYoga } from "graphql-yoga";

const tasks = [{ id: "1", text: "Water the plants", done: false }];
const changes = createPubSub<{ task: [(typeof tasks)[number]] }>();

const schema = createSchema({
  typeDefs: `
    type Task { id: ID! text: String! done: Boolean! }
    type Query { tasks(done: Boolean): [Task!]! }
    type Mutation { add(text: String!): Task! finish(id: ID!): Task }
    type Subscription { changed: Task! }
  `,
  resolvers: {
    Query: {
      tasks: (_, { done }) => tasks.filter((task) => done === undefined || task.done === done),
    },
    Mutation: {
      add(_, { text }) {
        const task = { id: String(tasks.length + 1), text, done: false };
        tasks.push(task);
        changes.publish("task", task);
        return task;
      },
      finish(_, { id }) {
        const task = tasks.find((task) => task.id === id);
        if (!task) return null;
        task.done = true;
        changes.publish("task", task);
        return task;
      },
    },
    Subscription: {
      changed: { subscribe: () => changes.subscribe("task"), resolve: (task) => task },
    },
  },
});

// GraphiQL would be loaded from elsewhere.
const yoga = createYoga({ schema, graphqlEndpoint: "/", graphiql: false, landingPage: false });

Deno.serve((request) => yoga.fetch(request));
