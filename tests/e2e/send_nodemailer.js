// One message by nodemailer. usage: node send_nodemailer.js PORT USER PASSWORD implicit|starttls
const nodemailer = require('nodemailer');

const [port, user, pass, tls] = process.argv.slice(2);
const transport = nodemailer.createTransport({
  host: '127.0.0.1', port: Number(port), secure: tls === 'implicit', requireTLS: tls === 'starttls', auth: {user, pass},
  tls: {rejectUnauthorized: false},
});
transport.sendMail({
  from: '暖気 <news@example.com>', to: ['first@inbox.test', 'second@inbox.test'], subject: 'ご注文 ' + tls,
  text: 'お客様へ\n.dot\n', html: '<p>お客様へ</p>',
  attachments: [{filename: '請求書.pdf', content: Buffer.alloc(300000, 7)}],
}).then((info) => {
  console.log(JSON.stringify({response: info.response, accepted: info.accepted}));
}, (error) => {
  console.error(error);
  process.exit(1);
});
