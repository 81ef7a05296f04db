import { Suspense, use } from "react";

interface Props {
  reviews: Promise<string[]>;
}

export function Page({ reviews }: Props) {
  return (
    <html lang="en">
      <head>
        <meta charSet="utf-8" />
        <title>Rucksack</title>
        <link rel="icon" href="data:," />
        <style>{"body { font: 1.1rem/1.6 system-ui; max-width: 36rem; margin: 3rem auto }"}</style>
      </head>
      <body>
        <h1>Rucksack</h1>
        <p>Thirty litres, waxed cotton.</p>
        <h2>Reviews</h2>
        <Suspense fallback={<p>Looking for reviews…</p>}>
          <Reviews reviews={reviews} />
        </Suspense>
      </body>
    </html>
  );
}

function Reviews({ reviews }: Props) {
  return <ul>{use(reviews).map((review) => <li key={review}>{review}</li>)}</ul>;
}
