// The time, from a default export that is a function.
export default function (request) {
  const zone = new URL(request.url).searchParams.get("zone") ?? "UTC";
  try {
    const time = new Date().toLocaleTimeString("en-GB", { timeZone: zone, timeZoneName: "short" });
    return new Response(`${time}\n`);
  } catch (error) {
    return new Response(`${error.message}\n`, { status: 400 });
  }
}
