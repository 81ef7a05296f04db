import express from "express";
import session from "express-session";
import passport from "passport";
import { Strategy } from "passport-local";

passport.use(new Strategy((name, password, done) => done(null, password === "secret" ? { name } : false)));
passport.serializeUser((user, done) => done(null, user.name));
passport.deserializeUser((name, done) => done(null, { name }));
const app = express();
app.use(express.urlencoded({ extended: false }));
app.use(session({ secret: "cat", resave: false, saveUninitialized: false }));
app.use(passport.initialize(), passport.session());
app.post("/login", passport.authenticate("local"), (request, response) => response.send(request.user.name));
app.get("/", (request, response) => response.send(request.user?.name ?? "nobody"));
app.listen(process.env.PORT ?? 3000);
